"""Real SDKs under real instrumentations from the registry, by `make test-compat`: each in a process of its own."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.compat.instrumentations import truth

HERE = Path(__file__).parent
pytest.importorskip("anthropic", reason="make test-compat installs the SDKs and instrumentations")


def run(*arguments: str) -> Any:
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@cache
def recorded(by: str) -> Any:
    return run(str(HERE / "record.py"), by.partition("-")[0], *{**truth.RECORDINGS, **truth.STORES}[by])


@pytest.mark.parametrize(("by", "case"), truth.ALL)
def test_a_call_counts_once_and_keeps_its_texts(by: str, case: str) -> None:
    spans = truth.translated(recorded(by)[case])
    truth.counts_once(by, case, spans)
    truth.tells_how_it_ended(by, case, spans)
    truth.holds_back(spans)


@pytest.mark.parametrize("who", ["alone", "all"])
def test_a_stream_is_timed_and_counted_once_whoever_traces_it_too(who: str) -> None:
    for case, spans in run(str(HERE / "streams.py"), who).items():
        (call,) = [span for span in spans if span["kind"] == "llm"]
        truth.streamed(case, call)
        truth.holds_back(spans)
        (root,) = [span for span in spans if span["parent_id"] is None]
        assert root["name"] == case
        assert {span["parent_id"] for span in spans} <= {None, *(span["span_id"] for span in spans)}


@pytest.mark.parametrize("case", truth.STORE_CASES)
def test_what_reads_a_vector_store_is_retrieval(case: str) -> None:
    spans = truth.translated(recorded("qdrant-openllmetry")[case])
    truth.reads_or_writes(case, spans)
    truth.holds_back(spans)


def test_one_line_watches_an_application_of_any_sdk() -> None:
    said = run(str(HERE / "one_line.py"))
    assert {"openai", "anthropic", "httpx"} <= {*said["turned_on"]}
    spans = said["spans"]
    assert len({span["trace_id"] for span in spans}) == 1
    calls = [span for span in spans if span["kind"] == "llm"]
    assert sorted(span["llm"]["provider"] for span in calls) == ["anthropic", "openai"]
    assert sum(span["llm"]["input_tokens"] for span in calls) == 60 + 100
    above = {span["span_id"]: span for span in spans}
    (root,) = (span for span in spans if span["parent_id"] is None)
    assert root["name"] == "serve"
    for call in calls:
        while call["parent_id"] is not None:
            call = above[call["parent_id"]]
        assert call is root
    assert any(span["otel_kind"] == "client" and span["kind"] == "other" for span in spans)  # httpx's own
    truth.holds_back(spans)
