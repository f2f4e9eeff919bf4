"""Four hours of a service as the line would have stored them: messages, through the real folds and rows, into tables.

Two services call each other; three models, one without a price; prompts in two versions, runs, tenants, users;
failures, blocks, scores and feedback; late and future-dated spans; messages sent twice; drops; alerts; a dead letter.
"""

import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from spanloom_processors import emit
from spanloom_processors.core.partition import Partition
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_sinks.database import ClickHouse
from spanloom_sinks.decode import decode
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables
from spanloom_sinks.trace_hours import HOUR_SECONDS, TraceHours

Datum = dict[str, Any]
MINUTE_NS = 60_000_000_000
TOPIC_ID = "recorded"
BOOK = "a1b2c3d4e5f6"
TRACES = 240
DROPPED = 7
SHARDS = ("0", "1", "it's\\2 %5C")
_SOURCE = emit.Source("llm.spans", TOPIC_ID, 0, 1, 1, BOOK)
_MODELS = [("openai", "gpt-4o-mini"), ("anthropic", "claude-3-5-haiku-latest"), (None, "own-model")]


class Recorded(NamedTuple):
    """What was stored, and where; `begun` and `ended` are epoch seconds around all of it."""

    settings: ClickHouseSettings
    begun: int
    ended: int
    spans: int
    trace_id: str
    """Of a trace with every kind of span."""


def record(settings: ClickHouseSettings) -> Recorded:
    """Fill a new database; its newest span ended some seconds ago."""
    migrate.apply(settings)
    now = time.time_ns() // MINUTE_NS * MINUTE_NS
    begun = now - TRACES * MINUTE_NS
    traffic = _Traffic(random.Random(20), begun, MINUTE_NS)
    messages = list(traffic.messages())
    store = ClickHouse(settings)
    try:
        _fill(store, messages)
        _alert(store, traffic.whole, now)
        _sample(store, now)
        _insert(store, "llm.dead_letters", [_encoded("dead_letter", "llm.dead_letters")])
    finally:
        store.close()
    return Recorded(settings, begun // 10**9 - 1, int(time.time()) + 1, traffic.spans, traffic.whole)


def _fill(store: ClickHouse, messages: list[splice.Message]) -> None:
    book = Book.load()
    partition = Partition(TOPIC_ID, 0)
    _insert(store, "llm.spans", messages, Source("llm.spans", TOPIC_ID, 0, 0))
    decoded = splice.decode("span_batch", messages)
    partition.fold(derive(flatten(decoded), book), decoded.headers.select("offset", "log_time"))
    partition.idle(messages[-1][1] + 60_000)
    emission = partition.emit()
    told = {"llm.panes": emit.panes(_SOURCE, emission, 0, 0), "llm.traces": emit.traces(_SOURCE, emission, 0)}
    for topic, sent in told.items():
        values = [(offset, messages[-1][1], message.value) for offset, message in enumerate(sent)]
        _insert(store, topic, values, Source(topic, f"{TOPIC_ID}-{topic}", 0, 0))
    ends = {span["end"] for _, _, value in messages for span in codec.decode(value)[2]["spans"]}
    store.sum_up("panes_1m", _starts(ends, 60))
    store.sum_up("panes_1h", _starts(ends, 3600))
    TraceHours(store, time.monotonic).turn(HOUR_SECONDS)


def _starts(ends: Iterable[int], seconds: int) -> list[datetime]:
    return sorted({datetime.fromtimestamp(end // 10**9 // seconds * seconds, UTC) for end in ends})


def _insert(store: ClickHouse, topic: str, messages: list[splice.Message], source: Source | None = None) -> None:
    decoded = decode(topic, messages)
    assert not decoded.dead
    for table in tables(Book.load())[topic]:
        store.insert(table.name, table.rows(decoded, source or Source(topic, f"{TOPIC_ID}-{topic}", 0, 0)))


def _encoded(schema: str, topic: str) -> splice.Message:
    return 0, time.time_ns() // 10**6, codec.encode(schema, topics.examples(topic)[0])


def _alert(store: ClickHouse, trace_id: str, now: int) -> None:
    """One alert that was, one that is, and one that fired the moment it was true; minutes ago."""
    lives = {
        ("RequestLatencyP95High", "a"): [
            ("pending", 90, None, None),
            ("firing", 90, 88, None),
            ("resolved", 90, 88, 70),
        ],
        ("RequestLatencyP95High", "b"): [("pending", 5, None, None), ("firing", 5, 3, None)],
        ("CostlyRequest", "c"): [("firing", 30, 30, None)],
    }
    example = next(datum for datum in topics.examples("llm.alerts") if datum["state"] == "firing")
    group = [{"key": "environment", "value": "production"}, {"key": "service", "value": "rag-chat"}]
    said = [
        example
        | {"rule": rule, "identity": identity * 64, "group": group, "state": state, "trace_ids": [trace_id]}
        | {"since": _ago(now, since), "fired": _ago(now, fired), "resolved": _ago(now, resolved)}
        | {"at": _ago(now, resolved or fired or since)}
        for (rule, identity), life in lives.items()
        for state, since, fired, resolved in life
    ]
    _insert(store, "llm.alerts", [(n, now // 10**6, codec.encode("alert", datum)) for n, datum in enumerate(said)])


def _sample(store: ClickHouse, now: int) -> None:
    """Every example of a machine with GPUs and of one without, in ten seconds of each minute of the last hour."""
    examples = [datum for datum in topics.examples("llm.samples") if datum["host"].isascii()]
    said = [datum | {"start": _ago(now, minutes)} for minutes in range(60, 0, -1) for datum in examples]
    _insert(store, "llm.samples", [(n, now // 10**6, codec.encode("sample_batch", d)) for n, d in enumerate(said)])


def _ago(now: int, minutes: int | None) -> int:
    """Epoch ms; 0: never."""
    return 0 if minutes is None else (now - minutes * MINUTE_NS) // 10**6


class _Traffic:
    """Messages of two producers: each request is one of the chat service and one of the agent that it calls."""

    def __init__(self, rnd: random.Random, begun: int, step: int) -> None:
        self.rnd, self.begun, self.step = rnd, begun, step
        self.spans = 0
        self.whole = ""
        self._sequence = {"rag-chat": 0, "rag-agent": 0}
        self._made = {"rag-chat": 0, "rag-agent": 0}
        self._last = 0

    def messages(self) -> Iterable[splice.Message]:
        offset = 0
        for value, log_time in self._values():
            yield offset, log_time, value
            offset += 1
            if offset in (11, 40):
                yield offset, log_time, value  # sent twice
                offset += 1

    def _values(self) -> Iterable[tuple[bytes, int]]:
        for service in self._sequence:
            yield self._batch(service, [], self.begun)
        for n in range(TRACES):
            end = self.begun + n * self.step + self.rnd.randrange(20_000_000_000)
            chat, agent = self._request(n, end)
            yield self._batch("rag-agent", agent, end)
            yield self._batch("rag-chat", chat, end)
        for service in self._sequence:
            yield self._batch(service, [], end, last=True)

    def _batch(self, service: str, spans: list[Datum], end: int, *, last: bool = False) -> tuple[bytes, int]:
        self.spans += len(spans)
        dropped = DROPPED if service == "rag-chat" and self._sequence[service] > 50 else 0
        self._made[service] += len(spans)
        log_time = self._last = max(self._last, end // 10**6 + self.rnd.randrange(20, 400))
        datum = {
            "producer": f"{service}/1", "epoch": 8, "sequence": self._sequence[service], "service": service,
            "environment": "production" if service == "rag-agent" or self._sequence[service] % 5 else "staging",
            "host": f"host-{self._sequence[service] % 2}", "version": "1.4.0", "sdk": "spanloom-python/0.1.0",
            "sent": end, "made": self._made[service] + dropped, "given_up": [], "last": last,
            "dropped": [{"reason": "queue_full", "spans": dropped}] if dropped else [], "spans": spans,
        }  # fmt: skip
        self._sequence[service] += 1
        return codec.encode("span_batch", datum), log_time

    def _request(self, n: int, end: int) -> tuple[list[Datum], list[Datum]]:
        trace_id, root, call = (self.rnd.randbytes(size).hex() for size in (16, 8, 8))
        took = int(self.rnd.lognormvariate(20.4, 0.6))
        context = {
            "request_id": f"r-{n}", "session_id": f"s-{n // 4}", "user": f"k1:{n % 9:032x}",
            "tenant": ["acme", "zeta"][n % 2], "experiment": ["prompt-a", "prompt-b"][n % 2],
            "run_id": f"run-{n % 3}", "dataset_id": None,
        }  # fmt: skip
        provider, model = _MODELS[0 if n % 7 else 2] if n % 3 else _MODELS[1]
        blocked = ["prompt_injection", "pii", "toxicity"][n % 3] if n % 12 == 0 else None

        def span(kind: str, name: str, share: float, parent: str | None = root, **said: Any) -> Datum:
            own = said.pop("span_id", None) or self.rnd.randbytes(8).hex()
            return {
                "trace_id": trace_id, "span_id": own, "parent_id": parent, "parent_remote": said.pop("remote", False),
                "name": name, "kind": kind, "otel_kind": "internal", "start": end - int(took * share), "end": end,
                "status": "ok", "error_type": None, "context": context, "prompt": None, "llm": None, "retrieval": None,
                "tool_name": None, "block_reason": None, "scores": [], "events": [], "links": [], "attributes": [],
                "payload": None,
            } | said  # fmt: skip

        timeout = {"status": "error", "error_type": "timeout"}
        failed, lost = timeout if n % 25 == 7 else {}, timeout if n % 50 == 7 else {}
        chat = [
            span("request", "POST /chat", 1, None, span_id=root, otel_kind="server", **failed),
            span("safety", "check question", 0.99, block_reason=blocked),
            span("tool", "ask agent", 0.9, span_id=call, tool_name="docs_agent"),
            span("feedback", "feedback", 0, scores=_scores(thumbs=float(n % 4 > 0), rating=1 + n % 5)),
        ]
        prompt = {
            "id": "answer" if n % 5 < 4 else "summary", "version": str(1 + n % 2), "context_truncated": False,
            "system_tokens": 120,
            "instructions_tokens": 60, "few_shot_tokens": 200, "context_tokens": 900 + 10 * n,
            "user_tokens": 30 + n % 20,
        }  # fmt: skip
        llm = {
            "provider": provider, "request_model": model, "response_model": None, "model_version": None,
            "service_tier": None, "temperature": 0.2, "top_p": None, "max_tokens": 800, "usage": "measured",
            "input_tokens": 500 + n, "cache_read_tokens": 800, "cache_write_tokens": 10, "output_tokens": 90 + n % 60,
            "reasoning_tokens": 20, "cached": False, "batch_size": None,
            "time_to_first_token": int(took * 0.2), "finish_reasons": ["content_filter" if n % 30 == 1 else "stop"],
        }  # fmt: skip
        documents = [{"id": f"doc-{(n + d) % 12}", "score": 0.9 - d / 10, "cited": d == 0} for d in range(4)]
        event = {"name": "retry", "time": end - took // 3, "attributes": [{"key": "attempt", "value": "1"}]}
        link = {"trace_id": "c" * 32, "span_id": "d" * 16, "attributes": [{"key": "why", "value": "batch"}]}
        scores = {"hit": _scores(hit_at_k=float(n % 5 > 0)), "precise": _scores(context_precision=0.25 * (n % 5))}
        judged = _scores(hallucination=float(n % 10 == 0), toxicity=float(n % 40 == 3))
        found = {"k": 4, "documents": documents}
        shard = [{"key": "shard", "value": SHARDS[n % 3]}] if n % 2 else []
        answer = call[::-1]
        agent = [
            span("request", "POST /answer", 0.88, call, span_id=answer, remote=True, otel_kind="server", **failed),
            span("retrieval", "search", 0.85, answer, retrieval=found, scores=scores["hit"], attributes=shard),
            span("rerank", "rerank", 0.7, answer, scores=scores["precise"]),
            span("llm", f"chat {model}", 0.6, answer, llm=llm, prompt=prompt, events=[event], links=[link], **lost),
            span("postproc", "judge", 0.01, answer, scores=judged),
        ]  # fmt: skip
        if n == 100:
            agent[2]["end"] -= 5 * MINUTE_NS  # late
            agent[2]["start"] = agent[2]["end"] - 1000
        if n == 120:
            chat[3]["end"] = chat[3]["start"] = end + 30_000_000_000  # future-dated
        if n == TRACES - 5:
            self.whole = trace_id
        return chat, agent


def _scores(**values: float) -> list[Datum]:
    return [{"name": name, "value": float(value)} for name, value in values.items()]
