"""Log records and spans join: records carry the ids of the span they were made in, and become its events.

`logging`: `JsonFormatter` (or the filter `SpanIds`, for a format of your own) and the handler `SpanEvents`. structlog:
the processors `span_ids` and `span_events`. Of a record's text, only what stands in the program leaves (ADR 28), or
what the detectors leave of it where payloads were asked for.

Nothing here takes a lock or raises. Records of our own logger become no events.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from spanloom import fields, process
from spanloom.payloads import Payload
from spanloom.span import Span, current_span

MESSAGE = 1024
"""Characters of a record's text in an event."""
EVENTS = 32
"""Events of one span above which records below WARNING become none: a chatty span still has room for its errors."""
EVENTS_AT_WARNING = 96
"""The same from WARNING on; the rest of a span's events is for those that its service adds itself."""

_OURS = "spanloom"
_MACHINERY = ("logging", "structlog")
_STANDARD = frozenset((*logging.makeLogRecord({}).__dict__, "message", "asctime", "trace_id", "span_id", "taskName"))
_METHODS = {"warn": logging.WARNING, "exception": logging.ERROR, "fatal": logging.CRITICAL}


class SpanIds(logging.Filter):
    """Gives each record `trace_id` and `span_id`, for `%(trace_id)s` in a format; empty outside of spans.

    Put it on a logger or on a QueueHandler where records are formatted in another thread than they are made in.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp the record; keep it."""
        record.__dict__ |= {"trace_id": "", "span_id": "", **_ids()}
        return True


class JsonFormatter(logging.Formatter):
    """A record as JSON: time (UTC), level, logger, message, trace_id, span_id, exception, what `extra=` held."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        stamped = {name: record.__dict__[name] for name in ("trace_id", "span_id") if record.__dict__.get(name)}
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(stamped or _ids()),
        }
        extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD and name not in said}
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["exception"] = record.exc_text
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(said | extra, default=fields.text, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # keys that are no texts, numbers that are none, circles
            return json.dumps(said | {name: fields.text(value, fields.LONG) for name, value in extra.items()})


class SpanEvents(logging.Handler):
    """Makes a record at INFO or above that is made inside a span that span's event `log{level, message, logger, line}`.

    Put it on the root logger once, beside the handler that writes. `line` says where in the program, and `message` is
    missing where it is no text of the program.
    """

    def __init__(self, level: int | str = logging.INFO) -> None:
        super().__init__(level)

    def createLock(self) -> None:
        """Have none: a signal handler may log, and a fork leaves nothing held."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Note the record, unless a filter of this handler is against it."""
        try:
            if self.filter(record):
                self.emit(record)
        except Exception:  # a filter, a level's name or a message may be of the host's own making
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Note the record as the current span's event."""
        ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
        span = None if ours else _listening(record.levelno)
        if span is not None:
            line = f"{record.filename}:{record.lineno}"
            _note(span, record.levelname, record.msg, record.getMessage, {"logger": record.name, "line": line})


def span_ids(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add trace_id and span_id to what structlog is about to render."""
    event.update(_ids())
    return event


def span_events(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make what structlog logs at INFO or above inside a span that span's event `log{level, message, logger}`.

    The values beside the text stay here. Where structlog writes through `logging`, use this or `SpanEvents`, not both.
    """
    try:
        level = _METHODS.get(method) or logging.getLevelNamesMapping().get(method.upper(), logging.NOTSET)
        span = _listening(level)
        if span is not None:
            name = event.get("logger") or getattr(logger, "name", None)
            said = event.get("event")
            more = {"logger": name} if type(name) is str else {}
            _note(span, logging.getLevelName(level), said, lambda: str(said), more)
    except Exception:  # a logger may be anything
        return event
    return event


def _ids() -> dict[str, str]:
    span = current_span()
    return {} if span is None else {"trace_id": span.trace_id, "span_id": span.id}


def _listening(level: int) -> Span | None:
    """Return the span that has room for an event of a record of this level."""
    span = current_span() if level >= logging.INFO else None
    if span is None or span.ended:
        return None
    return span if span.has_room(EVENTS_AT_WARNING if level >= logging.WARNING else EVENTS) else None


def _note(span: Span, level: str, template: object, finish: Callable[[], str], more: dict[str, str]) -> None:
    """Add the event: with the finished text, to be sanitized, where payloads are wanted; else with the template."""
    said: dict[str, object] = {"level": level.lower()}
    finished = _finished(finish) if process.wants_payloads(span.trace) else None
    if finished is not None:
        said["message"] = Payload(finished, MESSAGE)
    elif type(template) is str and _is_of_the_program(template):
        said["message"] = template[:MESSAGE]
    span.add_event("log", said | more)


_finishing = threading.local()


def _finished(finish: Callable[[], str]) -> str | None:
    """Return the finished text; None where the host's values cannot say what they are, or log while they do."""
    if getattr(_finishing, "now", False):
        return None
    _finishing.now = True
    try:
        return finish()
    except Exception:
        return None
    finally:
        _finishing.now = False


def _is_of_the_program(text: str) -> bool:
    """Say whether the code that logs holds `text` as a constant: nobody else has written it, and no value is in it."""
    frame = sys._getframe(1)
    while frame.f_globals is globals() or str(frame.f_globals.get("__name__")).partition(".")[0] in _MACHINERY:
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return text in frame.f_code.co_consts
