"""Rules about one request fold llm.traces."""

import polars as pl
import pytest
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import parse

RULES = parse("rules: [{name: Dear, metric: trace_cost, above: $1, window: 1m, group_by: [service], severity: info}]")
T0 = 1_790_000_000_000


def _messages(*messages: tuple[int, list[tuple[str, float]]], partition: int = 2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages as (seconds, [(trace id, dollars)]), decoded."""
    headers = [
        {"offset": number, "log_time": T0 + seconds * 1000, "partition": partition}
        for number, (seconds, _) in enumerate(messages)
    ]
    traces = [
        {"offset": number, "trace_id": trace_id, "service": "chat", "environment": "prod", "cost": int(dollars * 10**9)}
        for number, (_, found) in enumerate(messages)
        for trace_id, dollars in found
    ]
    return pl.DataFrame(headers), pl.DataFrame(traces)


def test_a_request_over_the_limit_fires_once_for_its_window_and_resolves_after_it() -> None:
    story = _messages(
        (0, [("a", 0.9)]), (1, [("b", 1.5), ("c", 3.0)]), (30, [("d", 9.0)]), (61, []), (200, [("e", 2.0)])
    )
    fired, resolved, again = Engine(RULES).fold_traces(*story)
    assert (fired["state"], fired["trace_ids"], fired["value"]) == ("firing", ["c", "b"], 3.0)
    assert (fired["at"], fired["window_end"]) == (T0 + 1000, T0 + 61_000)
    assert (resolved["state"], resolved["identity"], resolved["resolved"]) == (
        "resolved",
        fired["identity"],
        T0 + 61_000,
    )
    assert (again["state"], again["trace_ids"]) == ("firing", ["e"])
    assert again["identity"] != fired["identity"]


@pytest.mark.parametrize("stop", range(5))
def test_a_replay_says_nothing_twice(stop: int) -> None:
    story = _messages((1, [("b", 1.5)]), (2, [("d", 2.0)]), (61, []), (90, [("b", 2.5)]), (200, [("e", 2.0)]))
    headers, traces = story
    live = Engine(RULES).fold_traces(headers, traces)
    records = Engine(RULES).fold_traces(headers[: stop + 1], traces.filter(pl.col("offset") <= stop))
    engine = Engine(RULES)
    engine.restore(records, [])
    assert records + engine.fold_traces(headers, traces) == live


def test_a_newer_version_of_the_same_trace_does_not_fire_again() -> None:
    found = Engine(RULES).fold_traces(*_messages((1, [("b", 1.5)]), (62, [("b", 2.5)])))
    assert [alert["state"] for alert in found] == ["firing", "resolved"]


def test_a_trace_that_was_named_before_hides_no_other_one() -> None:
    found = Engine(RULES).fold_traces(*_messages((1, [("b", 1.5)]), (62, [("b", 2.5), ("c", 2.0)])))
    assert [(alert["state"], alert["trace_ids"]) for alert in found] == [
        ("firing", ["b"]), ("resolved", ["b"]), ("firing", ["c"])
    ]  # fmt: skip


def test_a_restart_goes_on_with_its_clock_though_the_brokers_was_set_back() -> None:
    headers, traces = _messages((40, []), (10, [("b", 1.5)]))
    live, engine = Engine(RULES), Engine(RULES)
    assert live.fold_traces(headers[:1], traces.clear()) == []
    engine.resume_traces(2, live.traces_metadata(2))
    assert engine.fold_traces(headers[1:], traces) == live.fold_traces(headers[1:], traces)


def test_on_an_idle_partition_it_resolves_as_a_message_would_resolve_it() -> None:
    live = Engine(RULES).fold_traces(*_messages((1, [("b", 1.5)]), (100, [])))
    engine = Engine(RULES)
    fired = engine.fold_traces(*_messages((1, [("b", 1.5)])))
    assert engine.idle_traces(1, T0 + 100_000) == []
    assert engine.idle_traces(2, T0 + 60_000) == []
    assert fired + engine.idle_traces(2, T0 + 99_000) == live


def test_partitions_keep_states_of_their_own_since_another_worker_may_read_them() -> None:
    engine = Engine(RULES)
    first = engine.fold_traces(*_messages((1, [("a", 2.0)]), partition=0))
    second = engine.fold_traces(*_messages((1, [("b", 2.0)]), partition=1))
    assert {alert["identity"] for alert in first} != {alert["identity"] for alert in second}
    assert [label for alert in first for label in alert["group"]] == [
        {"key": "partition", "value": "0"},
        {"key": "service", "value": "chat"},
    ]
