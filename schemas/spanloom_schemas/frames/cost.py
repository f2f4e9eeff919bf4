"""The cost of every span by the price book, in integers.

Rates are looked up once for each distinct provider, model, tier and quarter of an hour, and joined.
"""

from functools import reduce
from itertools import accumulate
from operator import add

import polars as pl

from spanloom_schemas.prices.book import BUCKETS, Book, Bracket, Rate

SLOT_S = 900
"""Seconds for which a rate is looked up once: prices change at UTC midnight or at a minute divisible by 15."""

MOST_TOKENS = 10**9
"""A call of more is a wrong count: what it costs is not known."""

STATUS = pl.Series(["none", "free", "priced", "unpriced"])
_NONE, _FREE, _PRICED, _UNPRICED = (pl.lit(code, pl.UInt8) for code in range(4))

_READ, _SAID = BUCKETS[:3], BUCKETS[3:]
_KEY = ("provider", "response_model", "request_model", "service_tier")
_LAST_SLOT = 253_402_300_799 // SLOT_S  # of the year 9999
_MILLION = 10**6


def costs(spans: pl.DataFrame, book: Book) -> list[pl.Series]:
    """Columns cost and cost_status of a span frame; `derive` says what they mean."""
    at = spans.select(_CALLS).to_series()
    status = spans["cached"].cast(pl.UInt8)  # free or none
    cost = pl.zeros(spans.height, pl.Int64, eager=True)
    if len(at):
        calls = _with_rates(spans.select(_WANTED)[at], book).select(_PRICES)
        cost, status = cost.scatter(at, calls["cost"]), status.scatter(at, calls["status"])
    return [cost.alias("cost"), STATUS.gather(status).alias("cost_status")]


def _prices() -> list[pl.Expr]:
    """Cost and the number of its status, of calls that were not cached."""
    kind, read, said = pl.col("kind"), _counted(*_READ), _counted(*_SAID)
    failed = (pl.col("status") == "error") & pl.col("ttft").is_null()
    counted = ((read & said) | ((read | said) & ((kind != "llm") | failed))) & (pl.col("tokens") <= MOST_TOKENS)
    unpriced_zero = counted & (pl.col("tokens") == 0) & pl.col("input").is_null()
    nothing = (failed & ~read & ~said) | unpriced_zero
    exact = reduce(add, (_tokens(bucket).cast(pl.Int128) * pl.col(bucket) for bucket in BUCKETS))
    whole = ((exact + _MILLION // 2) // _MILLION + pl.col("request")).cast(pl.Int64, strict=False)
    cost = pl.when(counted).then(whole)
    priced = cost.is_not_null()
    return [
        pl.when(nothing).then(0).otherwise(cost).alias("cost"),
        pl.when(priced).then(_PRICED).when(nothing).then(_NONE).otherwise(_UNPRICED).alias("status"),
    ]


def _with_rates(calls: pl.DataFrame, book: Book) -> pl.DataFrame:
    """The calls with their `tokens` and, as `input`, … `request`, their bracket's rates; null: there is no rate."""
    calls = calls.with_columns(_SLOT, _TOKENS)
    keys = calls.select(*_KEY, "slot").unique(maintain_order=True)
    rates = [_rate(book, *key) for key in keys.iter_rows()]
    found = calls.join(_brackets(keys, rates), on=keys.columns, how="left", nulls_equal=True, maintain_order="left")
    edges = [pl.col(column) for column in found.columns if column.startswith("above")]
    above = [(edge < _TOKENS_READ).fill_null(value=False).cast(pl.Int64) for edge in edges]
    bracket = reduce(add, above, pl.col("first"))
    return pl.concat(
        [calls, _table(rates).select(pl.all().gather(found.select(bracket).to_series()))], how="horizontal"
    )


def _rate(
    book: Book, provider: str | None, answered: str | None, asked: str | None, tier: str | None, slot: int
) -> Rate | None:
    """By the model that answered, else by the one asked for: a new snapshot is not in the book on its first day."""
    models = [model for model in (answered, asked) if model]
    return next((rate for model in models if (rate := book.rate(provider, model, tier, slot * SLOT_S))), None)


def _brackets(keys: pl.DataFrame, rates: list[Rate | None]) -> pl.DataFrame:
    """For each key the row of its first bracket in the table, and above how many tokens each later one begins."""
    sizes = [len(rate.brackets) if rate else 0 for rate in rates]
    starts = list(accumulate(sizes, initial=0))[:-1]
    first = pl.Series("first", [start if size else None for start, size in zip(starts, sizes, strict=True)], pl.Int64)
    steps = range(1, max(sizes, default=0))
    above = [[rate.brackets[n].above if rate and n < len(rate.brackets) else None for rate in rates] for n in steps]
    return keys.with_columns(first, *(pl.Series(f"above{n}", row, pl.Int64) for n, row in enumerate(above)))


def _table(rates: list[Rate | None]) -> pl.DataFrame:
    rows = [(*bracket[1:], rate.request) for rate in rates if rate for bracket in rate.brackets]
    return pl.DataFrame(rows, schema=dict.fromkeys((*Bracket._fields[1:], "request"), pl.Int64()), orient="row")


def _tokens(*buckets: str) -> pl.Expr:
    """Tokens of some buckets in all; what is not counted, or less than nothing, is 0; nonsense does not overflow."""
    return reduce(add, (pl.col(f"{bucket}_tokens").fill_null(0).clip(0, 10**15) for bucket in buckets))


def _counted(*buckets: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(f"{bucket}_tokens").is_not_null() for bucket in buckets)


_WANTED = ("kind", "status", "ttft", "end", *_KEY, *(f"{bucket}_tokens" for bucket in BUCKETS))
_TOKENS, _TOKENS_READ = _tokens(*BUCKETS).alias("tokens"), _tokens(*_READ)
_CALLS = ((pl.col("kind").is_in(["llm", "embedding"]) | (_TOKENS > 0)) & ~pl.col("cached")).arg_true()
_SLOT = (pl.col("end") // (SLOT_S * 10**9)).clip(0, _LAST_SLOT).alias("slot")
_PRICES = _prices()
