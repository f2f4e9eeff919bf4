"""From a seed to a story: which spans are made, in which order they arrive, who dies when."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim import steps
from tests.sim.world import T0

Step = Callable[[Any], None]

RARE = ("trim", "recreate", "revise")
FEATURES = (
    *("resend", "late", "future", "quiet", "clock", "skew", "nonsense", "keys", "long"),
    *("bomb", "kill", "expel", "sleep", "wait", "second"),
)
"""What may happen in a story besides the ordinary; each story has some of it."""


USUAL = 0.06
"""Share of stories that begin with half an hour in which groups learn what is usual."""

REPRICED = 0.08
"""Share of stories in which prices change."""


@dataclass(frozen=True)
class Story:
    """What happens in a world of so many partitions."""

    seed: int
    partitions: int
    compacting: bool
    steps: tuple[Step, ...]


def story(seed: int, focus: frozenset[str] = frozenset()) -> Story:
    """The story of a seed; `focus`: features that it has for sure."""
    rng = random.Random(seed)
    features = {name for name in FEATURES if rng.random() < (0.1 if name == "long" else 0.55)} | focus
    if not features & set(RARE) and rng.random() < 0.3:
        features.add(rng.choice(RARE))
    if random.Random(f"half an hour {seed}").random() < USUAL:
        features.add("usual")
    made = Made(rng, features, focus, rng.choice([1, 1, 2, 3]))
    compacting = rng.random() < 0.5
    told = made.all()
    prices = random.Random(f"prices {seed}")
    if prices.random() < REPRICED or "reprice" in focus:
        for _ in range(prices.choice([1, 1, 2])):
            told.insert(prices.randrange(len(told) // 4, len(told)), steps.Reprice())
    return Story(seed, made.partitions, compacting, tuple(told))


class Made:
    """A story in the making."""

    def __init__(self, rng: random.Random, features: set[str], focus: frozenset[str], partitions: int) -> None:
        self.rng, self.features, self.focus, self.partitions = rng, features, focus, partitions
        self.now = self.sequence = self.spans = self.sent = 0
        self.steps: list[Step] = []

    def all(self) -> list[Step]:
        rng = self.rng
        self.steps += [steps.Start("worker", 0), steps.Start("sink", 0)]
        if "second" in self.features:
            self.steps += [steps.Start("worker", 1), steps.Start("sink", 1)]
        if "skew" in self.features:
            self.steps.append(steps.Skew(0, rng.choice([-8_000, -900, 900, 8_000])))
        if "usual" in self.features:
            for _ in range(34):
                self._usual_minute()
        messages = rng.randrange(30, 50) if "long" in self.features else rng.randrange(6, 20)
        rare = {rng.randrange(messages // 3, messages) for name in RARE if name in self.features}
        for number in range(messages):
            self.message()
            self._work()
            if number in rare:
                self._rare()
            if rng.random() < 0.3:
                self._fault()
        return self.steps

    def _usual_minute(self) -> None:
        """Both services answer a few requests, most of which are not blocked; now and then something breaks."""
        self.now += 60_000
        self.steps.append(steps.Pass(60_000))
        for service in ("chat", "search"):
            partition = self.rng.randrange(self.partitions)
            plain = {"kind": "request", "parent_id": None, "status": "ok", "block_reason": None}
            spans = [self._span(partition) | plain for _ in range(4)] + [self._span(partition)]
            self._send(partition, spans, service)
        self._work()
        if self.rng.random() < 0.1:
            self._fault()

    def message(self) -> None:
        """A message comes, after a while, or something else that the broker has to say."""
        rng = self.rng
        gaps = [0, 300, 900, 1_800, 2_600, 4_000, 6_000]
        if "quiet" in self.features:
            gaps += [9_000, 14_000, 33_000]
        gap = rng.choice(gaps)
        self.now += gap
        self.steps.append(steps.Pass(gap))
        if "clock" in self.features and rng.random() < 0.25:
            self.steps.append(steps.StepClock(rng.choice([-14_000, -6_000, -2_500, 400, 3_000])))
        if "nonsense" in self.features and rng.random() < 0.08:
            self.steps.append(steps.Send(rng.randrange(self.partitions), None))
            return
        if "resend" in self.features and rng.random() < 0.2:
            self.steps.append(steps.Send(0, None, rng.randrange(max(1, self.sent))))
            return
        partition = rng.randrange(self.partitions)
        spans = [self._span(partition) for _ in range(rng.choice([0, 1, 2, 2, 3, 5]))]
        self._send(partition, spans, rng.choice(["chat", "chat", "search"]))

    def _send(self, partition: int, spans: list[dict[str, Any]], service: str) -> None:
        self.sequence += 1
        self.sent += 1
        batch = {
            "producer": f"p{partition}", "epoch": 1 + self.sequence % 2, "sequence": self.sequence // 2,
            "service": service, "environment": "test", "host": "h", "version": "1",
            "sdk": "sim/1", "sent": (T0 + self.now) * 10**6, "made": self.spans, "dropped": [], "given_up": [],
            "shed": [{"part": "payloads", "spans": self.sequence // 5}],
            "last": False, "spans": spans,
        }  # fmt: skip
        self.steps.append(steps.Send(partition, batch))

    def _span(self, partition: int) -> dict[str, Any]:
        rng = self.rng
        self.spans += 1
        behind = [20, 150, 400, 900, 2_800]
        behind += [4_500, 6_000, 14_000, 65_000] if "late" in self.features and rng.random() < 0.5 else []
        behind += [-3_000, -4_900, -5_100, -15_000] if "future" in self.features and rng.random() < 0.5 else []
        end = (T0 + self.now - rng.choice(behind)) * 10**6 + rng.randrange(1_000)
        kind = rng.choice(["llm", "llm", "request", "tool", "feedback"])
        blocked = rng.choice([None, None, None, "pii", "toxic", "odd"])
        tenants = ["a", "b", "c", "d", "e", "f", "g"] if "keys" in self.features else ["a", "b"]
        context = dict.fromkeys(("request_id", "session_id", "user", "experiment", "run_id", "dataset_id"))
        scores = [{"name": rng.choice(["hit", "thumbs", "tone"]), "value": rng.choice([0.5, 1.0, 0.333])}]
        return {
            "trace_id": f"trace-{rng.randrange(4)}-{partition}", "span_id": f"s{self.spans}",
            "parent_id": None if rng.random() < 0.4 else f"s{rng.randrange(1, self.spans + 1)}",
            "parent_remote": rng.random() < 0.1, "name": "step", "kind": kind, "otel_kind": "internal",
            "start": end - rng.choice([0, 500_000, 90_300_000, 2_560_000_000]), "end": end,
            "status": rng.choice(["ok", "ok", "error"]), "error_type": None,
            "context": context | {"tenant": rng.choice(tenants)} if rng.random() < 0.7 else None,
            "prompt": None, "llm": self._call() if kind == "llm" else None, "retrieval": None, "tool_name": None,
            "block_reason": blocked, "scores": scores if rng.random() < 0.2 else [], "events": [], "links": [],
            "attributes": [], "payload": None,
        }  # fmt: skip

    def _call(self) -> dict[str, Any]:
        rng = self.rng
        counts = dict.fromkeys(
            f"{name}_tokens" for name in ("input", "cache_read", "cache_write", "output", "reasoning")
        )
        counts |= {"input_tokens": rng.choice([None, 100, 4_000_000]), "output_tokens": rng.choice([0, 50, 900])}
        return {
            "provider": "openai", "request_model": rng.choice(["gpt-4o-mini", "gpt-4o-mini", "own"]),
            "response_model": None, "model_version": None, "service_tier": None, "temperature": None, "top_p": None,
            "max_tokens": None, "usage": "measured", **counts, "cached": False, "batch_size": None,
            "time_to_first_token": rng.choice([None, 90_000_000, 700_000_000]), "finish_reasons": [],
        }  # fmt: skip

    def _work(self) -> None:
        """What the processes do after a message."""
        rng = self.rng
        worker = rng.randrange(2) if "second" in self.features else 0
        sink = rng.randrange(2) if "second" in self.features else 0
        if rng.random() < 0.2:
            # Everything there is, and once more: an empty fetch shows that there is nothing left.
            everything = [steps.Read(worker, which, 50) for which in range(2 * self.partitions + 1)]
            self.steps += [*everything, *everything[-self.partitions - 1 :], steps.Beat(worker)]
            if rng.random() < 0.7:
                self.steps.append(steps.CommitDeclared(worker))
        elif rng.random() < 0.5:
            for _ in range(rng.choice([1, 2, 3])):
                which, most = rng.randrange(2 * self.partitions + 1), rng.choice([1, 2, 4, 50])
                self.steps.append(steps.Read(worker, which, most, rng.choice([0, 0, 0, 1])))
        if rng.random() < 0.2:
            self.steps.append(steps.Beat(worker))
            if rng.random() < 0.7:
                self.steps.append(steps.CommitDeclared(worker))
        if rng.random() < 0.35:
            for _ in range(rng.choice([1, 2, 4])):
                which, most = rng.randrange(2 * self.partitions + 3), rng.choice([1, 2, 3, 50])
                self.steps.append(steps.SinkRead(sink, which, most))
            if rng.random() < 0.6:
                self.steps += [steps.Pass(rng.choice([0, 250, 1_100])), steps.SinkTurn(sink)]
                self.now += self.steps[-2].ms  # type: ignore[attr-defined]

    def _fault(self) -> None:
        rng = self.rng
        kind, number = rng.choice(["worker", "worker", "sink"]), rng.randrange(2) if "second" in self.features else 0
        faults = [name for name in ("bomb", "kill", "expel", "sleep", "wait") if name in self.features]
        faults += 3 * [name for name in faults if name in self.focus]
        other = steps.Start(kind, 1 - number)
        match rng.choice([*faults, "start"]):
            case "bomb":
                self.steps.append(steps.Bomb(kind, number, rng.choice([1, 1, 2, 3, 5])))
            case "kill":
                self.steps.append(steps.Kill(kind, number))
                if rng.random() < 0.6:
                    self.steps.append(steps.Start(kind, number))
            case "expel":
                self.steps += [steps.Expel(kind, number), other] if rng.random() < 0.7 else [steps.Rejoin(kind, number)]
            case "sleep":
                self.steps.append(steps.Sleep(kind, number, rng.choice([1, 2, 3]), rng.choice([3, 8, 20]), waits=False))
                if rng.random() < 0.5:
                    self.steps.append(other)
            case "wait":
                self.steps.append(steps.Sleep("worker", number, rng.choice([1, 2, 3]), rng.choice([1, 3]), waits=True))
            case _:
                self.steps += [steps.Start(kind, number), steps.Rejoin(kind, number)]

    def _rare(self) -> None:
        rng = self.rng
        if "trim" in self.features:
            if rng.random() < 0.7:
                self.steps.append(steps.Kill("worker", 0))
            self.steps += [
                steps.Trim(rng.randrange(self.partitions), rng.choice([0.3, 0.6, 0.9])),
                steps.Start("worker", 0),
            ]
        if "recreate" in self.features:
            self.steps.append(steps.Recreate())
        if "revise" in self.features:
            if "expel" in self.features:
                self.steps += [steps.Expel("worker", 0), steps.Start("worker", 1)]
            self.steps.append(steps.Revise(0, rng.choice([1, 2, 3, 7])))
