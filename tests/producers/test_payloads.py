import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import spanloom
from spanloom import process, secrecy
from spanloom.buffer import SHED
from spanloom.logs import SpanEvents, span_events
from spanloom.payloads import LIMIT, Payload
from spanloom.testing import recording

LETTER = "Dear Ann, my address is ann@example.org"
LOG = logging.Logger("app.payloads")  # below no other: pytest's handlers do recurse


@pytest.fixture
def logging_events() -> Iterator[None]:
    handler = SpanEvents()
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
    yield
    LOG.removeHandler(handler)


def payload(share: float, **said: str) -> dict[str, Any]:
    with recording(payloads=share) as recorded:
        with spanloom.span("x") as span:
            span.payload(**said)
        found: dict[str, Any] = recorded.named("x")["payload"]
    return found


def test_payloads_stay_here_unless_they_are_asked_for() -> None:
    found = payload(0, input=LETTER)
    assert (found["input"], found["output"]) == (None, None)
    assert found["input_hash"] == secrecy.pseudonym(LETTER)


def test_on_request_they_leave_sanitized_beside_their_hashes() -> None:
    found = payload(1, input=LETTER, output="call +49 171 2345678")
    assert (found["input"], found["output"]) == ("Dear Ann, my address is [email]", "call [phone]")
    assert found["input_hash"] == secrecy.pseudonym(LETTER)


def test_a_long_one_is_cut_and_says_how_much_is_missing() -> None:
    text = "x" * (LIMIT - 4) + " ann@example.org " + "y" * 1000
    found = payload(1, input=text)
    assert found["input"] == "x" * (LIMIT - 4) + f" [email] [… {len(text) - LIMIT} more characters]"
    assert found["input_hash"] == secrecy.pseudonym(text)


def test_a_large_one_is_not_held() -> None:
    assert len(Payload("x" * 10_000_000)) < 2 * LIMIT


@pytest.mark.parametrize(("flags", "sent"), [("00", False), ("01", True)])
def test_a_trace_that_its_caller_sampled_out_sends_no_payload(flags: str, sent: bool) -> None:
    parent = spanloom.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"})
    with recording(payloads=1) as recorded:
        with spanloom.span("x", parent=parent) as span:
            span.payload(input="hello")
            span.set_tokens(input=7)
        found = recorded.named("x")
    assert (found["payload"]["input"] is not None) == sent
    assert found["llm"]["input_tokens"] == 7
    assert found["payload"]["input_hash"]


def test_under_pressure_spans_lose_payloads_then_events_and_never_counters() -> None:
    with recording(buffer_bytes=64 * 1024, payloads=1) as recorded:
        for _ in range(100):
            with spanloom.span("x") as span:
                span.payload(input="hello" * 100, output="there")
                span.add_event("retry", {"why": "y" * 2000})
                span.set_tokens(input=7)
        spans = recorded.spans
        refused, told = spanloom.dropped(), process.life().buffer.shed
    shed = [next((a["value"] for a in span["attributes"] if a["key"] == SHED), "") for span in spans]
    assert [*dict.fromkeys(shed)] == ["", "input,output", "input,output,events"]
    assert len(spans) + refused["queue_full"] == 100
    counted = [sum(part in lost for lost in shed) for part in ("input", "events")]
    assert [told.payloads.read(), told.events.read()] == counted
    assert all(counted)
    for span, lost in zip(spans, shed, strict=True):
        assert (span["payload"]["input"] is None) == ("input" in lost)
        assert (span["events"] == []) == ("events" in lost)
        assert (span["llm"]["input_tokens"], span["payload"]["input_hash"]) == (7, spans[0]["payload"]["input_hash"])


def test_an_attribute_never_becomes_a_payload_by_its_name() -> None:
    with recording(payloads=1) as recorded:
        with spanloom.span("x", attributes={"input": LETTER, "note": Payload("secret")}):
            pass
        found = recorded.named("x")
    assert found["payload"] is None
    assert {"key": "input", "value": LETTER} in found["attributes"]
    assert "secret" not in str(found)


def test_the_hosts_thread_runs_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("spanloom.detectors.sanitize", lambda text, _: looked.append(text) or "seen")
    with recording(payloads=1) as recorded:
        with spanloom.span("x") as span:
            span.payload(input=LETTER)
        assert looked == []
        assert recorded.named("x")["payload"]["input"] == "seen"


def test_a_text_at_which_the_detectors_fail_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, limit: int) -> str:
        raise ValueError(text)

    monkeypatch.setattr("spanloom.detectors.sanitize", fail)
    with recording(payloads=1) as recorded:
        with spanloom.span("x") as span:
            span.payload(input=LETTER)
            span.add_event("log", {"message": Payload(LETTER)})
        found = recorded.named("x")
    assert found["payload"]["input_hash"] == secrecy.pseudonym(LETTER)
    assert "Dear" not in str(found)
    assert "Dear" not in repr(Payload(LETTER))


def test_log_messages_become_events_sanitized_where_payloads_are_wanted(logging_events: None) -> None:
    class Loud:
        def __str__(self) -> str:
            LOG.info("from within %s", self)
            return "loud"

    with recording(payloads=1) as recorded:
        with spanloom.span("x"):
            LOG.info("asked: %s", LETTER)
            LOG.warning(f"no letter of {len(LETTER)} characters")
            LOG.info("%s", Loud())
            span_events(None, "info", {"event": LETTER, "other": "stays"})
        events = recorded.named("x")["events"]
    said = [next(pair["value"] for pair in event["attributes"] if pair["key"] == "message") for event in events]
    assert said == [
        "asked: Dear Ann, my address is [email]",
        f"no letter of {len(LETTER)} characters",
        "from within %s",
        "loud",
        "Dear Ann, my address is [email]",
    ]


def test_without_re2_payloads_stay_off_and_one_line_says_why() -> None:
    code = (
        "import sys; sys.modules['re2'] = None\n"
        "import logging; logging.basicConfig(format='%(message)s')\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 're2' else find(name, package)\n"
        "import spanloom; spanloom.configure(payloads=1.0, disabled=True)\n"
        "from spanloom import process; print(process.life().payloads)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "0.0"
    assert ran.stderr.splitlines() == [
        "SPANLOOM_PAYLOADS needs google-re2: payloads stay off; install 'spanloom[payloads]'"
    ]


def test_the_configured_share_holds_and_loads_no_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, spanloom; spanloom.configure(disabled=True); from spanloom import process"
    code += "\nprint(process.life().payloads, 're2' in sys.modules)"
    monkeypatch.setenv("SPANLOOM_PAYLOADS", "0.25")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "0.25 False"
    assert process.life().payloads == 0
