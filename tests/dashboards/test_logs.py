"""Log records out of what spans say happened."""

import pytest
from spanloom_traces.logs import LEVELS, logs
from spanloom_traces.model import Event, SpanDetail


def span(start: int = 0, end: int = 9, *events: Event, **facts) -> SpanDetail:
    return SpanDetail("s", None, False, "call", "llm", "chat", start, end, events=events, **facts)


@pytest.mark.parametrize(
    ("name", "attributes", "level"),
    [
        ("response.start", {}, "info"),
        ("exception", {"exception.type": "KeyError"}, "error"),
        ("tool_error", {}, "error"),
        ("llm.retry", {}, "warning"),
        ("Fallback", {}, "warning"),
        ("note", {"level": "WARN"}, "warning"),
        ("note", {"severity_text": "Fatal"}, "error"),
        ("exception", {"log.level": "debug"}, "debug"),
        ("note", {"level": "loud"}, "info"),
    ],
)
def test_an_events_level_is_what_it_says_or_what_its_name_tells(name, attributes, level):
    event = Event(name, 5, attributes)
    assert (name, level) in [(one.message, one.level) for one in logs([span(0, 9, event)], level)]
    for higher in LEVELS[LEVELS.index(level) + 1 :]:
        assert not logs([span(0, 9, event)], higher)


def test_records_of_all_spans_come_by_time():
    spans = [span(0, 9, Event("b", 5, {}), Event("d", 8, {})), span(1, 6, Event("a", 2, {}), status="error")]
    assert [one.message for one in logs(spans, "info")] == ["a", "b", "failed: error", "d"]
    assert logs(spans, "debug")[0].message == "began"


def test_an_error_and_a_block_are_records_of_their_own():
    found = logs([span(status="error", error_type="TimeoutError", block_reason="pii")], "warning")
    assert [(one.level, one.message) for one in found] == [
        ("warning", "blocked: pii"),
        ("error", "failed: TimeoutError"),
    ]


def test_a_record_of_the_service_shows_its_text_or_where_it_was_made():
    said, withheld = {"level": "info", "message": "found %d", "line": "a.py:7"}, {"level": "error", "line": "a.py:9"}
    found = logs([span(0, 9, Event("log", 2, said), Event("log", 3, withheld), Event("log", 4, {}))], "info")
    assert [(one.level, one.message) for one in found] == [("info", "found %d"), ("error", "a.py:9"), ("info", "log")]
