from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom_processors.delivery.alertmanager import FIRING_MS, RESEND_MS, payload
from spanloom_processors.delivery.pagerduty import EVENT, event
from spanloom_processors.delivery.post import encode
from spanloom_processors.delivery.rendering import annotations, labels

TEXT = st.text(max_size=50) | st.text(min_size=1, max_size=3).map(lambda text: text * 5000)
GROUPS = st.lists(
    st.fixed_dictionaries({"key": st.sampled_from(["environment", "model", "service", "tenant"]), "value": TEXT}),
    unique_by=lambda label: label["key"],
)
CHANGING = st.fixed_dictionaries(
    {
        "value": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
        "threshold": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
        "trace_ids": st.lists(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), max_size=5),
        "summary": TEXT,
        "description": TEXT,
        "state": st.sampled_from(["firing", "resolved"]),
        "partial": st.booleans(),
        "at": st.integers(0, 2**41),
        "window_end": st.integers(0, 2**41),
        "unit": st.sampled_from(["seconds", "ratio", "dollars", "dollars/min", "spans"]),
    }
)


@settings(max_examples=30)
@given(group=GROUPS, one=CHANGING, other=CHANGING)
def test_labels_say_only_which_alert_it_is(group: list, one: dict, other: dict, tools: Any) -> None:
    first, second = (tools.alert(group=group, since=10**12, **changing) for changing in (one, other))
    assert labels(first) == labels(second)
    assert set(labels(first)) <= {"alertname", "severity", *(label["key"] for label in group)}
    assert all(labels(first).values())
    assert not any(trace_id in value for trace_id in one["trace_ids"] for value in labels(first).values())


@settings(max_examples=30)
@given(group=GROUPS, changing=CHANGING)
def test_every_event_keeps_pagerdutys_schema_and_limits(group: list, changing: dict, tools: Any) -> None:
    sent = event(tools.alert(group=group, **changing), tools.ROUTING_KEY)
    assert tools.violations(sent) == []
    assert len(encode(sent)) <= EVENT


def test_annotations_carry_value_threshold_window_and_traces(tools: Any) -> None:
    said = annotations(tools.alert())
    assert (said["value"], said["threshold"], said["window"]) == ("2.5 s", "1.2 s", "1 min")
    assert said["trace_ids"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert said["look"] == "spanloom trace 4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_firing_alert_outlasts_ten_minutes_of_silence_and_a_resolved_one_ends_in_the_past(tools: Any) -> None:
    now = 1_790_000_100_000
    firing = payload(tools.alert(since=1_790_000_000_000), now)
    assert (firing["startsAt"], firing["endsAt"]) == ("2026-09-21T14:13:20.000Z", "2026-09-21T14:30:00.000Z")
    assert FIRING_MS >= 600_000 + 4 * RESEND_MS
    resolved = payload(tools.alert("resolved", since=1_790_000_000_000), now)
    assert resolved["endsAt"] == "2026-09-21T14:13:35.000Z"
    ahead = payload(tools.alert("resolved", since=1_790_000_000_000, resolved=now + 60_000), now)
    assert ahead["endsAt"] == "2026-09-21T14:15:00.000Z", "the broker's clock may be ahead"
