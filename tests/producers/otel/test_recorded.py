"""Spans that real instrumentations made against the server of tests/compat (`record.py` there), in one file each."""

import json
from pathlib import Path
from typing import Any

import pytest
from spanloom import wire
from spanloom.otel.calls import Calls
from spanloom.otel.mapping import About, translate
from spanloom.otel.received import Received
from spanloom.secrecy import pseudonym
from spanloom.testing import decoded

FOLDER = Path(__file__).parent / "recorded"
OPENAI = {"input": 60, "cache_read": 40, "cache_write": None, "output": 30, "reasoning": 20}
NO_REASONING = {**OPENAI, "output": 50, "reasoning": None}
"""What OpenLLMetry says of a stream."""
ANTHROPIC = {"input": 100, "cache_read": 40, "cache_write": 10, "output": 50, "reasoning": None}
NOTHING = dict.fromkeys(OPENAI)
HALF = {**ANTHROPIC, "output": None}
"""Anthropic reports the input before the first token."""
OPENAI_CASES = ("chat", "stream", "cancelled", "error", "tools", "filtered", "embeddings")
ANTHROPIC_CASES = ("chat", "stream", "stream_helper", "cancelled", "error", "tools", "filtered")
CASES = [
    *((f"openai-{by}", case) for by in ("openllmetry", "openinference", "langfuse") for case in OPENAI_CASES),
    *((f"anthropic-{by}", case) for by in ("alone", "openllmetry", "openinference") for case in ANTHROPIC_CASES),
]


def translated(by: str, case: str) -> list[dict[str, Any]]:
    calls = Calls()
    spans = [Received(**span) for span in json.loads((FOLDER / f"{by}.json").read_text("utf-8"))[case]]
    return [decoded(wire.span(translate(span, About(None, {}, {}), calls, pseudonym))) for span in spans]


def tokens(span: dict[str, Any]) -> dict[str, Any]:
    return {bucket: (span["llm"] or {}).get(f"{bucket}_tokens") for bucket in OPENAI}


def true_tokens(by: str, case: str) -> dict[str, Any]:
    if case == "embeddings":
        return {**NOTHING, "input": 7, "cache_read": 0 if by == "openai-openllmetry" else None}
    if case == "error" or (case == "cancelled" and by.startswith("openai")):
        return NOTHING
    if by.startswith("anthropic"):
        return HALF if case == "cancelled" else ANTHROPIC
    return NO_REASONING if (by, case) == ("openai-openllmetry", "stream") else OPENAI


@pytest.mark.parametrize(("by", "case"), CASES)
def test_a_call_counts_once_with_its_true_tokens(by: str, case: str) -> None:
    spans = translated(by, case)
    calls = [span for span in spans if span["kind"] in ("llm", "embedding")]
    assert [span["kind"] for span in calls] == ["embedding" if case == "embeddings" else "llm"]
    assert tokens(calls[0]) == true_tokens(by, case)
    assert [tokens(span) for span in spans if span not in calls] == [NOTHING] * (len(spans) - 1)
    assert calls[0]["llm"]["provider"] == (by.partition("-")[0] if "langfuse" not in by else None)


@pytest.mark.parametrize(("by", "case"), CASES)
def test_nothing_that_people_or_models_wrote_leaves(by: str, case: str) -> None:
    said = json.dumps(translated(by, case))
    for text in ("What is", "answer?", "answer is", "42.", "and ", "too many", "Traceback", "zone", "hello"):
        assert text not in said


@pytest.mark.parametrize("by", sorted({by for by, _ in CASES}))
def test_errors_and_blocks_are_told(by: str) -> None:
    failed = [span for span in translated(by, "error") if span["kind"] == "llm"]
    assert [span["status"] for span in failed] == ["error"]
    assert failed[0]["error_type"]
    blocked = [span["block_reason"] for span in translated(by, "filtered") if span["block_reason"]]
    no_word = by == "openai-langfuse"  # Langfuse does not say why the model stopped, but for streams
    assert blocked == ([] if no_word else ["refusal" if by.startswith("anthropic") else "content_filter"])


@pytest.mark.parametrize("by", sorted({by for by, _ in CASES}))
def test_the_first_token_of_a_stream_is_timed(by: str) -> None:
    call = next(span for span in translated(by, "stream") if span["kind"] == "llm")
    assert 0 < call["llm"]["time_to_first_token"] <= call["end"] - call["start"]
    assert call["llm"]["finish_reasons"] == ["stop"]


@pytest.mark.parametrize("by", sorted({by for by, _ in CASES}))
def test_the_service_s_own_span_is_the_request(by: str) -> None:
    *_, root = translated(by, "tools")
    assert (root["name"], root["kind"], root["otel_kind"], root["parent_id"]) == (
        "POST /chat",
        "request",
        "server",
        None,
    )
