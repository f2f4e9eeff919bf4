import json
import logging
import logging.handlers
import queue
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import spanloom
import structlog
from spanloom import logs
from spanloom.testing import Recorded, recording

LETTER = "my letter to ann@example.org"


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


@pytest.fixture
def written() -> Iterator[StringIO]:
    stream = StringIO()
    out = logging.StreamHandler(stream)
    out.setFormatter(logs.JsonFormatter())
    with logging_to(out, logs.SpanEvents()):
        yield stream


class logging_to:
    """The logger "app" with these handlers for a while."""

    def __init__(self, *handlers: logging.Handler) -> None:
        self.handlers = handlers

    def __enter__(self) -> None:
        LOG.setLevel(logging.DEBUG)
        for handler in self.handlers:
            LOG.addHandler(handler)

    def __exit__(self, *_: object) -> None:
        for handler in self.handlers:
            LOG.removeHandler(handler)


LOG = logging.getLogger("app.search")


def events(recorded: Recorded, name: str = "work") -> list[dict[str, str]]:
    found = recorded.named(name)["events"]
    assert all(event["name"] == "log" for event in found)
    return [{said["key"]: said["value"] for said in event["attributes"]} for event in found]


def test_a_record_is_json_with_the_ids_of_its_span(recorded: Recorded, written: StringIO) -> None:
    with spanloom.span("work") as span:
        LOG.warning("found %d documents", 3, extra={"index": "docs", "odd": object, "nan": float("nan")})
    LOG.info("outside")
    inside, outside = (json.loads(line) for line in written.getvalue().splitlines())
    assert (inside["trace_id"], inside["span_id"]) == (span.trace_id, span.id)
    assert (inside["level"], inside["logger"], inside["message"]) == ("warning", "app.search", "found 3 documents")
    assert (inside["index"], inside["nan"]) == ("docs", "nan")
    assert "trace_id" not in outside


def test_an_exception_is_one_line_of_json_and_its_message_stays_here(recorded: Recorded, written: StringIO) -> None:
    with spanloom.span("work"):
        try:
            raise ValueError(LETTER)
        except ValueError:
            LOG.exception("it failed")
    line = json.loads(written.getvalue())
    assert LETTER in line["exception"]
    assert [event["message"] for event in events(recorded)] == ["it failed"]
    assert LETTER not in str(recorded.spans)


def test_a_record_made_in_a_span_keeps_its_ids_through_a_queue(recorded: Recorded) -> None:
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    handler.addFilter(logs.SpanIds())
    with logging_to(handler):
        with spanloom.span("work") as span:
            LOG.info("inside")
        LOG.info("outside")
    inside, outside = waiting.get(), waiting.get()
    assert json.loads(logs.JsonFormatter().format(inside))["span_id"] == span.id
    assert logging.Formatter("%(trace_id)s|%(message)s").format(outside) == "|outside"


def test_a_record_at_info_or_above_becomes_its_spans_event(recorded: Recorded, written: StringIO) -> None:
    with spanloom.span("above"):
        with spanloom.span("work"):
            LOG.debug("too low")
            LOG.info("found %d of %s", 3, LETTER)
            LOG.critical("no more")
        LOG.info("later")
    LOG.info("in no span")
    info, critical = events(recorded)
    assert info | {"line": ""} == {"level": "info", "message": "found %d of %s", "logger": "app.search", "line": ""}
    assert info["line"].startswith("test_logs.py:")
    assert (critical["level"], critical["message"]) == ("critical", "no more")
    assert [event["message"] for event in events(recorded, "above")] == ["later"]
    assert LETTER not in str(recorded.spans)


def test_a_text_that_does_not_stand_in_the_program_is_not_sent(recorded: Recorded, written: StringIO) -> None:
    def log(text: str) -> None:
        LOG.info(text)

    with spanloom.span("work"):
        LOG.info(f"asked {LETTER}")
        LOG.info(LETTER)
        LOG.info("asked " + LETTER + " after %s", 1)
        LOG.info({"asked": LETTER})
        log("wrapped")
    assert [set(event) for event in events(recorded)] == [{"level", "logger", "line"}] * 5
    assert LETTER not in str(recorded.spans)
    assert written.getvalue().count(LETTER) == 4  # the host's own log is the host's


def test_a_chatty_span_keeps_room_for_its_errors_and_for_events_of_its_own(
    recorded: Recorded, written: StringIO
) -> None:
    with spanloom.span("work") as span:
        for _ in range(1000):
            LOG.info("x")
        for _ in range(1000):
            LOG.error("y")
        span.add_event("mine")
    found = recorded.named("work")
    assert [event["name"] for event in found["events"]] == ["log"] * logs.EVENTS_AT_WARNING + ["mine"]
    said = [event["attributes"][0]["value"] for event in found["events"][:-1]]
    assert (said.count("info"), said.count("error")) == (logs.EVENTS, logs.EVENTS_AT_WARNING - logs.EVENTS)
    assert found["attributes"] == [{"key": "spanloom.cut", "value": str(2000 - logs.EVENTS_AT_WARNING)}]


def test_the_text_of_an_event_is_cut(recorded: Recorded, written: StringIO) -> None:
    with spanloom.span("work"):
        exec(compile(f"LOG.info({'x' * 5000!r})", "generated", "exec"), {"LOG": LOG})
    assert len(events(recorded)[0]["message"]) == logs.MESSAGE


def test_our_own_records_become_no_events(recorded: Recorded) -> None:
    ours = logging.getLogger("spanloom")
    handler = logs.SpanEvents()
    ours.addHandler(handler)
    try:
        with spanloom.span("work") as span:
            span.set_attributes(3)  # type: ignore[arg-type]  # is complained of, once a process
            ours.warning("of ours")
            logging.getLogger("spanloom.sender").warning("of ours")
    finally:
        ours.removeHandler(handler)
    assert recorded.named("work")["events"] == []


def test_nothing_that_is_logged_raises_in_the_host(
    recorded: Recorded, written: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        def __str__(self) -> str:
            LOG.info("inside of str")
            raise RuntimeError

    def broken(_: logging.LogRecord) -> bool:
        raise RuntimeError

    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = logs.SpanEvents()
    handler.addFilter(broken)
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    with logging_to(handler), spanloom.span("work"):
        LOG.info("odd %s", Odd())
        LOG.info(Odd())
        LOG.info("extra", extra={"circle": circle, "odd": Odd()})
        LOG.info("missing %s %s", 1)
        LOG.log(1 << 40, "high")
    assert json.loads(written.getvalue().splitlines()[-1])["message"] == "high"
    assert {"odd %s", "extra", "missing %s %s", "high"} <= {event.get("message") for event in events(recorded)}


def test_what_is_logged_after_the_spans_end_is_not_its_event(recorded: Recorded, written: StringIO) -> None:
    with spanloom.span("work") as span:
        LOG.info("before")
        span.end()
        LOG.info("after")
        span.add_event("after")
    assert [event["message"] for event in events(recorded)] == ["before"]


def test_structlog_records_carry_ids_and_become_events(recorded: Recorded) -> None:
    stream = StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=[logs.span_ids, logs.span_events, structlog.processors.JSONRenderer()]
    )
    with spanloom.span("work") as span:
        log.debug("too low")
        log.info("asked", question=LETTER, logger="app")
        log.warn(f"asked {LETTER}")
        log.exception("failed")
    log.info("outside")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("span_id") for line in lines] == [span.id] * 4 + [None]
    assert events(recorded) == [
        {"level": "info", "message": "asked", "logger": "app"},
        {"level": "warning"},
        {"level": "error", "message": "failed"},
    ]
    assert LETTER not in str(recorded.spans)


def test_a_signal_handler_and_a_fork_may_log() -> None:
    code = """
import logging, os, signal, spanloom
from spanloom.logs import SpanEvents
from spanloom.testing import recording
logging.basicConfig(level=logging.INFO, handlers=[SpanEvents()])
log = logging.getLogger("app")
signal.signal(signal.SIGALRM, lambda *_: log.info("alarm"))
with recording() as recorded, spanloom.span("work"):
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for _ in range(20000):
        log.debug("x"); log.info("y")
    signal.setitimer(signal.ITIMER_REAL, 0)
    child = os.fork()
    log.info("after")
    if not child:
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("0", "")


def test_the_module_needs_neither_structlog_nor_asyncio() -> None:
    code = "import sys, spanloom.logs; print([n for n in ('structlog', 'asyncio', 'msgspec') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
