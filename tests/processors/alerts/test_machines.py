"""Rules about machines fold llm.samples."""

from collections.abc import Callable
from typing import Any

import pytest
from spanloom_processors.core.alerts import machines
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.records import Alert, SafePoint
from spanloom_processors.core.alerts.rules import RuleError, parse
from spanloom_schemas import codec
from spanloom_schemas.frames import splice

T0 = 1_790_000_000_000
PANE = 10_000
GPU = {"gpu_uuid": "u", "gpu_model": "m", "quantity": "gpu_utilization"}
Busy = Callable[[int], dict[str, float | None]]


class Log:
    """Messages of llm.samples. A probe's message comes 200 ms after its pane's end unless told otherwise."""

    def __init__(self) -> None:
        self.messages: list[splice.Message] = []
        self.now = T0

    def send(self, host: str, start: int, busy: dict[str, float | None], epoch: int = 1) -> None:
        """Utilization of each GPU in per cent; None: it did not answer."""
        samples = [
            GPU | {"gpu_id": gpu, "count": 0 if busy is None else 10, "failed": 0 if busy is not None else 10}
            | {name: None if busy is None else round(busy * times) for name, times in
               (("sum", 100_000), ("lowest", 10_000), ("highest", 10_000))}
            for gpu, busy in busy.items()
        ]  # fmt: skip
        header = {"environment": "prod", "host": host, "epoch": epoch, "start": start, "sdk": "test"}
        value = codec.encode("sample_batch", header | {"samples": samples})
        self.messages.append((len(self.messages), self.now, value))

    def run(self, panes: int, **hosts: Busy) -> None:
        """For so many panes, a message of each host: by pane number, what its GPUs did."""
        for n in range(panes):
            start, self.now = self.now // PANE * PANE, (self.now // PANE + 1) * PANE + 200
            for host, busy in hosts.items():
                self.send(host, start, busy(n))

    def fold(self, engine: Engine, first: int = 0, last: int | None = None) -> list[Alert]:
        decoded = splice.decode("sample_batch", self.messages[first:last])
        assert not decoded.dead
        return engine.fold_samples(decoded.headers, decoded.rows)


def said(alerts: list[Alert]) -> list[tuple[str, str, str, int]]:
    """Host, GPU, state and the seconds of the log at which it was given."""
    labels = [{label["key"]: label["value"] for label in alert["group"]} for alert in alerts]
    return [
        (group["host"], group["gpu_id"], alert["state"], (alert["at"] - T0) // 1000)
        for group, alert in zip(labels, alerts, strict=True)
    ]


@pytest.fixture
def rules(default_rules: list[Any]) -> list[Any]:
    return [rule for rule in default_rules if rule.name == "GpuUnderused"]


def story() -> Log:
    """Two machines; one GPU is idle for a quarter of an hour, one now and then, one is lost; a machine goes."""
    log = Log()
    log.run(12, a=lambda n: {"0": 80, "1": 90}, b=lambda n: {"0": 20})
    log.run(75, a=lambda n: {"0": 30, "1": 90 if n % 20 < 12 else 0}, b=lambda n: {"0": 20 if n < 70 else None})
    log.send("a", T0, {"0": 99.0})  # comes once more: it counts once
    log.run(20, a=lambda n: {"0": 70, "1": 90})
    log.run(70, a=lambda n: {"0": 10, "1": 90})
    log.run(30, c=lambda n: {"0": 90})
    return log


def test_a_gpu_under_50_percent_for_10_minutes_fires_by_the_time_of_its_machine_and_resolves(rules: list[Any]) -> None:
    log = Log()
    log.run(12, a=lambda n: {"0": 80, "1": 80})
    log.run(75, a=lambda n: {"0": 30, "1": 55})
    log.run(12, a=lambda n: {"0": 80, "1": 80})
    pending, fired, resolved = log.fold(Engine(rules))
    # Under 50 % on average once four of a minute's six panes are idle.
    began = 120 + 40
    assert said([pending, fired, resolved]) == [
        ("a", "0", "pending", began), ("a", "0", "firing", began + 600), ("a", "0", "resolved", 120 + 750 + 30)
    ]  # fmt: skip
    assert fired["summary"] == "GPU 0 of a is 30 % busy"
    assert (fired["value"], fired["threshold"], fired["unit"]) == (0.3, 0.5, "ratio")
    assert fired["identity"] == pending["identity"] == resolved["identity"]


def test_a_lost_gpu_and_a_machine_that_fell_silent_are_not_underused(rules: list[Any]) -> None:
    found = story().fold(Engine(rules))
    firing = [each for each in said(found) if each[2] == "firing"]
    assert {(host, gpu) for host, gpu, _, _ in firing} == {("a", "0"), ("b", "0")}
    last = {(host, gpu): state for host, gpu, state, _ in said(found)}
    assert set(last.values()) == {"resolved"}
    assert [each["value"] for each in found if each["state"] == "resolved"].count(None) == 2


@pytest.mark.parametrize(("lost", "keep"), [(0, machines.KEEP_MS), (0, 300_000), (40, 300_000)])
def test_a_restart_anywhere_says_what_it_would_have_said_and_nothing_twice(
    rules: list[Any], lost: int, keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lost`: messages that were folded, and whose records were stored, after the last commit. `keep`: the story is
    short; where less is kept, a restart begins within it.
    """
    monkeypatch.setattr(machines, "KEEP_MS", keep)
    log = story()
    live = log.fold(Engine(rules))
    assert len(live) > 8
    for stop in range(1, len(log.messages), 17):
        first = Engine(rules)
        records = log.fold(first, 0, stop)
        point = first.safe_samples()
        assert point is not None
        records += log.fold(first, stop, stop + lost)
        again = Engine(rules)
        again.restore(records, [])
        again.resume_samples(SafePoint.judged_from(point.metadata()))
        assert records + log.fold(again, point.offset) == live


def test_a_message_that_comes_twice_counts_once(rules: list[Any]) -> None:
    log = Log()
    log.run(6, a=lambda n: {"0": 60 if n < 3 else 45})
    for message in log.messages[3:] * 2:
        log.messages.append((len(log.messages), *message[1:]))
    log.run(1, a=lambda n: {"0": 60})
    assert log.fold(Engine(rules)) == []


def test_a_clock_that_was_set_back_has_no_window_judged_after_a_later_one(rules: list[Any]) -> None:
    log = Log()
    log.run(12, a=lambda n: {"0": 80})
    for epoch in (2, 3):
        for pane in range(3, 7):
            log.send("a", T0 + pane * PANE, {"0": 0}, epoch)
    log.run(6, a=lambda n: {"0": 80})
    assert log.fold(Engine(rules)) == []


def test_it_does_not_matter_how_polls_cut_the_log(rules: list[Any]) -> None:
    log, engine = story(), Engine(rules)
    alone = [alert for n in range(len(log.messages)) for alert in log.fold(engine, n, n + 1)]
    assert alone == log.fold(Engine(rules))


def test_a_restart_does_not_read_everything_again(rules: list[Any]) -> None:
    log, engine = Log(), Engine(rules)
    assert engine.safe_samples() is None
    log.run(1000, a=lambda n: {"0": 80})
    log.fold(engine)
    point = engine.safe_samples()
    assert point is not None
    assert point.judged == 1000
    assert point.offset == 1000 - 720  # two hours


def test_on_an_idle_topic_it_resolves_as_a_message_would_resolve_it(rules: list[Any]) -> None:
    log = Log()
    log.run(80, a=lambda n: {"0": 10})
    engine = Engine(rules)
    fired = log.fold(engine)
    assert fired[-1]["state"] == "firing"
    assert engine.idle_samples(log.now + 59_000) == []
    idle = engine.idle_samples(log.now + 300_000)
    log.now += 400_000
    log.run(1, b=lambda n: {"0": 90})
    assert fired + idle == log.fold(Engine(rules))
    assert log.fold(engine, 80) == []


def test_a_machine_whose_clock_is_ahead_is_not_judged_and_harms_no_other(rules: list[Any]) -> None:
    log = Log()
    log.send("a", T0 + 3_600_000, {"0": 1.0})
    log.run(80, a=lambda n: {"0": 10})
    assert [state for _, _, state, _ in said(log.fold(Engine(rules)))] == ["pending", "firing"]


def test_what_makes_no_sense_ends_nothing(rules: list[Any]) -> None:
    header = {"environment": "e" * 1000, "host": "h", "epoch": 1, "start": T0, "sdk": ""}
    odd = [(5, None), (-5, 3), (2**62, -(2**63)), (2**63 - 1, 2**63 - 1)]
    samples = [GPU | {"gpu_id": "0", "count": count, "failed": 0, "sum": total} for count, total in odd]
    value = codec.encode("sample_batch", header | {"samples": samples})
    decoded = splice.decode("sample_batch", [(0, T0 + PANE, value)])
    (pending,) = Engine(rules).fold_samples(decoded.headers, decoded.rows)
    codec.encode("alert", dict(pending))
    assert max(len(label["value"]) for label in pending["group"]) == 256


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("group_by: [environment, gpu_id], below: 1", "group_by: environment and host are needed"),
        ("group_by: [environment, host, model], below: 1", "group_by: 'model' is unknown"),
        ("group_by: [environment, host], where: {request: true}, below: 1", "where: 'request' is unknown"),
        ("group_by: [environment, host], absent: true", "only above or below"),
    ],
)
def test_a_rule_that_a_machine_cannot_have_is_refused(wrong: str, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        parse(f"rules: [{{name: R, metric: gpu_utilization, severity: info, {wrong}}}]")
