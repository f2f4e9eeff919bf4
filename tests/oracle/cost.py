"""What a call costs: the book says the rates, the arithmetic is the oracle's own."""

from collections.abc import Mapping, Sequence

from spanloom_schemas.prices.book import Book

MOST_TOKENS = 10**9


def cost_of(
    book: Book,
    kind: str,
    failed: bool,
    cached: bool,
    tokens: Mapping[str, int | None],
    provider: str | None,
    models: Sequence[str | None],
    tier: str | None,
    end_ns: int,
) -> tuple[int | None, str]:
    """Nano-dollars (None: unknown) and cost_status of a span.

    `failed`: it failed before its first token. `models`: the one that answered, the one asked for; the first that the
    book knows counts.
    """
    counted = {name: min(max(count or 0, 0), 10**15) for name, count in tokens.items()}
    used = sum(counted.values())
    if cached:
        return 0, "free"
    if kind not in ("llm", "embedding") and used == 0:
        return 0, "none"
    read = any(tokens[name] is not None for name in ("input", "cache_read", "cache_write"))
    said = any(tokens[name] is not None for name in ("output", "reasoning"))
    if failed and not read and not said:
        return 0, "none"
    known = (read and said) or ((read or said) and (kind != "llm" or failed))
    if not known or used > MOST_TOKENS:
        return None, "unpriced"
    seconds = min(max(end_ns // 10**9, 0), 253_402_300_799)
    rates = (book.rate(provider, model, tier, seconds) for model in models if model)
    rate = next((found for found in rates if found), None)
    if rate is None:
        return (None, "unpriced") if used else (0, "none")
    sent = counted["input"] + counted["cache_read"] + counted["cache_write"]
    bracket = max((each for each in rate.brackets if sent > each.above), key=lambda each: each.above)
    millionths = sum(count * getattr(bracket, name) for name, count in counted.items())
    cost = millionths // 10**6 + (millionths % 10**6 >= 500_000) + rate.request
    return (cost, "priced") if cost < 2**63 else (None, "unpriced")
