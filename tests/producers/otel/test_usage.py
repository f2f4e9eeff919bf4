"""Counts of tokens as dialects leave them to the provider, or split them further."""

import json
from typing import Any

import pytest

from tests.producers.otel.test_mapping import ours, tokens

META = "ai.response.providerMetadata"
DETAILS = "langfuse.observation.usage_details"


@pytest.mark.parametrize(
    ("attributes", "buckets"),
    [
        # Langfuse: what was written to caches, by how long it is kept there
        (
            {DETAILS: json.dumps({"input": 2, "input_cache_creation": 0, "input_cache_creation_1h": 76})},
            (2, None, 76, None, None),
        ),
        (
            {DETAILS: json.dumps({"input": 2, "input_cache_creation_5m": 6, "input_cache_creation_1h": 76})},
            (2, None, 82, None, None),
        ),
        # Vercel 4: the cache is in the provider's metadata alone, and counted as the provider counts it
        (
            {
                "ai.model.provider": "openai.chat",
                "ai.usage.promptTokens": 100,
                "ai.usage.completionTokens": 50,
                META: json.dumps({"openai": {"cachedPromptTokens": 40, "reasoningTokens": 20}}),
            },
            (60, 40, None, 30, 20),
        ),
        (
            {
                "ai.model.provider": "anthropic.messages",
                "ai.usage.promptTokens": 100,
                META: json.dumps({"anthropic": {"cacheReadInputTokens": 40, "cacheCreationInputTokens": 10}}),
            },
            (100, 40, 10, None, None),
        ),
        # Vercel 5 with Google: thoughts are beside the output
        (
            {
                "ai.model.provider": "google.generative-ai",
                "ai.usage.inputTokens": 100,
                "ai.usage.outputTokens": 50,
                "ai.usage.reasoningTokens": 20,
            },
            (100, None, None, 50, 20),
        ),
        # Vercel 6: told apart
        (
            {
                "ai.usage.outputTokens": 50,
                "ai.usage.outputTokenDetails.textTokens": 30,
                "ai.usage.outputTokenDetails.reasoningTokens": 20,
            },
            (None, None, None, 30, 20),
        ),
        # Vercel 7: OpenTelemetry's names, the cache perhaps in the provider's own usage alone
        (
            {
                "gen_ai.usage.input_tokens": 150,
                META: json.dumps(
                    {"anthropic": {"usage": {"cache_read_input_tokens": 40, "cache_creation_input_tokens": 10}}}
                ),
            },
            (100, 40, 10, None, None),
        ),
    ],
)
def test_counts_are_told_apart_as_their_dialect_means_them(
    attributes: dict[str, Any], buckets: tuple[int | None, ...]
) -> None:
    assert tokens(ours({"gen_ai.operation.name": "chat", **attributes})) == buckets
