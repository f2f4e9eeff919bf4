"""What is true of the calls that `record` makes against the server of `provider`, whoever traced them."""

import json
from collections.abc import Iterable
from typing import Any

from spanloom import wire
from spanloom.otel.calls import Calls
from spanloom.otel.mapping import About, translate
from spanloom.otel.received import Received
from spanloom.secrecy import pseudonym
from spanloom.testing import decoded

GENAI, LLMETRY, INFERENCE = (
    "opentelemetry.instrumentation.genai.",
    "opentelemetry.instrumentation.",
    "openinference.instrumentation.",
)
RECORDINGS = {
    "openai-genai": [f"{GENAI}openai:OpenAIInstrumentor"],
    "openai-openllmetry": [f"{LLMETRY}openai:OpenAIInstrumentor"],
    "openai-openinference": [f"{INFERENCE}openai:OpenAIInstrumentor"],
    "openai-langfuse": ["langfuse"],
    "openai-all": [f"{by}openai:OpenAIInstrumentor" for by in (GENAI, LLMETRY, INFERENCE)],
    "anthropic-alone": [],
    "anthropic-genai": [f"{GENAI}anthropic:AnthropicInstrumentor"],
    "anthropic-openllmetry": [f"{LLMETRY}anthropic:AnthropicInstrumentor"],
    "anthropic-openinference": [f"{INFERENCE}anthropic:AnthropicInstrumentor"],
    "anthropic-all": [f"{by}anthropic:AnthropicInstrumentor" for by in (GENAI, LLMETRY, INFERENCE)],
}
"""SDK and instrumentations → what turns them on."""
CASES = {
    "openai": (
        *("chat", "stream", "cancelled", "error", "tools", "filtered", "embeddings"),
        *("responses", "responses_stream", "responses_error", "private", "stream_tools", "stream_error"),
    ),
    "anthropic": (
        *("chat", "stream", "stream_helper", "cancelled", "error", "tools", "filtered"),
        *("private", "stream_tools", "stream_error"),
    ),
}
STORES = {"qdrant-openllmetry": [f"{LLMETRY}qdrant:QdrantInstrumentor"]}
"""The same of vector stores."""
STORE_CASES = {"upsert": ("other", None), "query_points": ("retrieval", 3), "scroll": ("retrieval", None)}
"""Call → stage of its span, and how many documents were asked for."""
ALL = [(by, case) for by in RECORDINGS for case in CASES[by.partition("-")[0]]]

OPENAI = {"input": 60, "cache_read": 40, "cache_write": None, "output": 30, "reasoning": 20}
NO_REASONING = {**OPENAI, "output": 50, "reasoning": None}
"""What OpenLLMetry says of a stream."""
ANTHROPIC = {"input": 100, "cache_read": 40, "cache_write": 10, "output": 50, "reasoning": None}
UNAWARE = {"openai": ("openllmetry", "langfuse"), "anthropic": ()}
"""Who does not say that a stream failed in its middle."""
HALF = {**ANTHROPIC, "output": None}
"""Anthropic reports the input before the first token."""
NOTHING = dict.fromkeys(OPENAI)
TEXTS = (
    *("What is", "answer?", "answer is", "42.", "and ", "too many", "Traceback", "zone", "hello"),
    *("zebra", "ann@", "UTC"),
)
"""What people, models and tools wrote in these calls."""


def translated(spans: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return recorded spans as consumers see them."""
    calls = Calls()
    here = About(None, {}, {})
    return [decoded(wire.span(translate(Received(**span), here, calls, pseudonym))) for span in spans]


def counts_once(by: str, case: str, spans: list[dict[str, Any]]) -> None:
    """Assert that one span is the call and has its tokens, and that no other has any."""
    sdk, _, who = by.partition("-")
    call, *more = [span for span in spans if span["kind"] in ("llm", "embedding")]
    assert (call["kind"], more) == ("embedding" if case == "embeddings" else "llm", [])
    assert _tokens(call) == _truth(sdk, who, case)
    assert [_tokens(span) for span in spans if span is not call] == [NOTHING] * (len(spans) - 1)
    assert call["llm"]["provider"] == (sdk if who != "langfuse" else None)
    echoes = [span for span in spans if any(said["key"] == "spanloom.echo_of" for said in span["attributes"])]
    assert len(echoes) == len(spans) - 2  # the call, and the service's own


def tells_how_it_ended(by: str, case: str, spans: list[dict[str, Any]]) -> None:
    """Assert error, block, finish reason and time to first token."""
    sdk, _, who = by.partition("-")
    (call,) = (span for span in spans if span["kind"] in ("llm", "embedding"))
    failed = case.endswith("error") and not (case == "stream_error" and who in UNAWARE[sdk])
    assert (call["status"] == "error", call["error_type"] is not None) == (failed,) * 2
    silent = who == "langfuse" and case != "stream"  # it says why the model stopped of streams alone
    blocked = {"openai": "content_filter", "anthropic": "refusal"}[sdk]
    assert call["block_reason"] == (blocked if case == "filtered" and not silent else None)
    if case == "stream":
        assert 0 < call["llm"]["time_to_first_token"] <= call["end"] - call["start"]
        assert call["llm"]["finish_reasons"] == ["stop"]
    if case == "stream_tools":
        assert call["llm"]["finish_reasons"] == ["tool_call"]
    assert (spans[-1]["name"], spans[-1]["kind"], spans[-1]["parent_id"]) == ("POST /chat", "request", None)


def streamed(case: str, call: dict[str, Any]) -> None:
    """Assert what a call's span says that `streams` made."""
    sdk, how, *_ = case.split()
    said, tokens = call["llm"], _tokens(call)
    assert (said["provider"], call["status"]) == (sdk, "unset"), case
    first = said["time_to_first_token"]
    assert first is None if how == "whole" else 0 < first <= call["end"] - call["start"], case
    if how in ("usage", "stream", "whole") or case == "anthropic helper":
        assert (tokens, said["usage"]) == (OPENAI if sdk == "openai" else ANTHROPIC, "measured"), case
        assert said["finish_reasons"] == ["stop"], case
        return
    assert (said["usage"], tokens["output"] >= 1) == ("estimated", True), case
    assert tokens["input"] == (100 if sdk == "anthropic" else 6), case  # "user", "What is the answer?"
    assert tokens["output"] == 4 + (sdk == "openai") or how in ("cancelled", "dropped", "closed"), case


def holds_back(spans: list[dict[str, Any]]) -> None:
    """Assert that nothing leaves that people or models wrote."""
    said = json.dumps(spans)
    for text in TEXTS:
        assert text not in said


def reads_or_writes(case: str, spans: list[dict[str, Any]]) -> None:
    """Assert that what reads a vector store is retrieval, and what writes is not."""
    call, request = spans
    kind, k = STORE_CASES[case]
    assert (call["kind"], call["name"], request["kind"]) == (kind, f"qdrant.{case}", "request")
    assert (call["retrieval"] or {}).get("k") == k


def _tokens(span: dict[str, Any]) -> dict[str, Any]:
    return {bucket: (span["llm"] or {}).get(f"{bucket}_tokens") for bucket in OPENAI}


def _truth(sdk: str, who: str, case: str) -> dict[str, Any]:
    if case == "embeddings":
        return {**NOTHING, "input": 7, "cache_read": 0 if who == "openllmetry" else None}
    if case == "stream_error" and sdk == "anthropic":
        return HALF
    if case.endswith("error") or (case == "cancelled" and sdk == "openai"):
        return NOTHING
    if sdk == "anthropic":
        return HALF if case == "cancelled" else ANTHROPIC
    return NO_REASONING if who == "openllmetry" and case in ("stream", "stream_tools") else OPENAI
