"""The five disjoint kinds of tokens, from the counts as providers report them.

Spanloom counts each token once: input that no cache had to do with, cache reads, cache writes, output without
reasoning, reasoning. Providers overlap them in their own ways.
"""

from typing import NamedTuple

INPUT_WITHOUT_CACHE = frozenset({"anthropic", "aws.bedrock"})
"""Providers whose own responses count cache reads and writes beside the input; all others within it."""

OUTPUT_WITHOUT_REASONING = frozenset({"gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai"})
"""Providers whose own responses count reasoning (thoughts) beside the output; all others within it."""


class Tokens(NamedTuple):
    """Counts of tokens, no token twice; None: not reported."""

    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None


def disjoint(
    provider: str | None,
    *,
    input: int | None = None,
    cache_read: int | None = None,
    cache_write: int | None = None,
    output: int | None = None,
    reasoning: int | None = None,
) -> Tokens:
    """The counts of a provider's own response, told apart.

    `provider` is OpenTelemetry's name. None, and every name not known to differ, means OpenTelemetry's convention for
    gen_ai.usage.*: input includes cache reads and writes, output includes reasoning. Use None for counts that already
    follow it, whatever the provider. A part larger than its whole leaves 0, never less.
    """
    parts = (cache_read or 0) + (cache_write or 0)
    if input is not None and provider not in INPUT_WITHOUT_CACHE:
        input = max(input - parts, 0)
    if output is not None and provider not in OUTPUT_WITHOUT_REASONING:
        output = max(output - (reasoning or 0), 0)
    return Tokens(input, cache_read, cache_write, output, reasoning)
