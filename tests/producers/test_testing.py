import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from re import DOTALL, findall

import pytest
import spanloom
from spanloom import process
from spanloom.testing import Clock, recording

DOCUMENT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")


def test_time_passes_only_when_it_is_told_to() -> None:
    clock = Clock(1_700_000_000_000)
    with recording(clock=clock) as recorded:
        with spanloom.span("call", event_type="llm") as call:
            clock.advance(40)
            call.mark_first_token()
            call.add_event("half")
            clock.advance(60)
        clock.advance(1)
        with spanloom.span("next"):
            pass
    span, then = recorded.spans
    began = 1_700_000_000_000_000_000
    assert (span["start"], span["end"]) == (began, began + 100_000_000)
    assert span["llm"]["time_to_first_token"] == 40_000_000
    assert span["events"][0]["time"] == began + 40_000_000
    assert then["start"] == began + 101_000_000


def test_a_stream_is_timed_by_the_same_clock() -> None:
    clock = Clock()
    with recording(clock=clock) as recorded:
        with spanloom.span("call", event_type="llm"):
            chunks = spanloom.timed(iter([{"choices": [{"delta": {"content": "x"}}]}]))
            clock.advance(250)
            next(chunks)
        found = recorded.named("call")["llm"]
    assert found["time_to_first_token"] == 250_000_000


def test_ids_are_numbers_and_begin_anew_with_each_recording() -> None:
    for _ in range(2):
        with recording(numbered=True) as recorded:
            for name in ("first", "then"):
                with spanloom.span(name), spanloom.span("inner"):
                    pass
        found = [(int(span["trace_id"], 16), int(span["span_id"], 16)) for span in recorded.spans]
        assert found == [(1, 2), (1, 1), (2, 4), (2, 3)]


def test_afterwards_time_and_ids_are_real() -> None:
    with recording(clock=Clock(), numbered=True):
        pass
    with recording() as recorded:
        for _ in range(4):
            with spanloom.span("x"):
                pass
    assert len({span["trace_id"] for span in recorded.spans} - {f"{number:032x}" for number in range(9)}) == 4
    assert all(first["start"] < then["start"] for first, then in pairwise(recorded.spans))
    with pytest.raises(ValueError, match="no clock of its own"):
        _ = recorded.clock


def test_a_service_that_configures_itself_is_recorded_with_its_tenant(caplog: pytest.LogCaptureFixture) -> None:
    before = process.life()
    with recording() as recorded:
        spanloom.configure(service="chat", tenant="acme", kafka_bootstrap="127.0.0.1:1")
        with spanloom.span("x"):
            pass
        spanloom.shutdown()
        with spanloom.span("y"):
            pass
        assert process.life().sender is None
    assert [span["context"]["tenant"] for span in recorded.spans] == ["acme", "acme"]
    assert process.life() is before
    assert process.facts() == before.facts == {}


def test_the_fixture_of_the_document_works(tmp_path: Path) -> None:
    (test,) = [block for block in findall(r"```python\n(.*?)```", DOCUMENT, DOTALL) if "def test_" in block]
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["spanloom.testing.fixtures"]\n')
    (tmp_path / "test_answer.py").write_text(test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
