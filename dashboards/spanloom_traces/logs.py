"""What a trace's spans say happened, as log records: events, errors and blocks, with their levels. Pure."""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from msgspec import Struct

from spanloom_traces.model import Event, SpanDetail

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)

_SAID = ("level", "log.level", "severity", "severity_text")
"""Attributes in which an event says its level itself."""
_CALLED: dict[str, Level] = {
    **dict.fromkeys(("trace", "debug"), "debug"),
    **dict.fromkeys(("info", "information", "notice"), "info"),
    **dict.fromkeys(("warn", "warning"), "warning"),
    **dict.fromkeys(("error", "err", "critical", "fatal", "alert", "emergency"), "error"),
}
_TELLING: tuple[tuple[str, Level], ...] = (
    *(("exception", "error"), ("error", "error"), ("fail", "error")),
    *(("retry", "warning"), ("fallback", "warning"), ("timeout", "warning"), ("truncat", "warning")),
)
"""What the name of an event holds that says no level itself."""


class LogRecord(Struct, frozen=True):
    """One thing that happened in a trace."""

    time: int
    level: Level
    span_id: str
    service: str
    span: str
    """The span's name."""
    message: str
    attributes: dict[str, str] = {}


def logs(spans: Iterable[SpanDetail], level: Level) -> list[LogRecord]:
    """The records at `level` and above, by time: every event; a span's error and block, and at debug its start and end.

    An event's level is what it says itself (its attribute level, log.level, severity or severity_text); else exceptions
    and failures are errors; retries, fallbacks, timeouts and truncations warnings; and anything else information.
    """
    shown = LEVELS[LEVELS.index(level) :]
    records = [record for span in spans for record in _records(span) if record.level in shown]
    return sorted(records, key=lambda record: record.time)


def _records(span: SpanDetail) -> Iterator[LogRecord]:
    def record(time: int, level: Level, message: str, attributes: dict[str, str]) -> LogRecord:
        return LogRecord(time, level, span.span_id, span.service, span.name, message, attributes)

    yield record(span.start, "debug", "began", {})
    for event in span.events:
        yield record(event.time, _level(event), _message(event), event.attributes)
    if span.block_reason:
        yield record(span.end, "warning", f"blocked: {span.block_reason}", {})
    if span.status == "error":
        yield record(span.end, "error", f"failed: {span.error_type or 'error'}", {})
    yield record(span.end, "debug", f"ended: {span.status}", {})


def _message(event: Event) -> str:
    """Return what an event says: a log record's is its text, where that was sent, or its place in the program."""
    if event.name != "log":
        return event.name
    return event.attributes.get("message") or event.attributes.get("line") or event.name


def _level(event: Event) -> Level:
    for key in _SAID:
        if said := _CALLED.get(event.attributes.get(key, "").strip().lower()):
            return said
    name = event.name.lower()
    return next((level for part, level in _TELLING if part in name), "info")
