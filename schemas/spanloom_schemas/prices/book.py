"""The price book: the rate of a model call by provider, model, tier and time.

Money is integer nano-dollars (10^-9 dollars); a rate is nano-dollars per million tokens. Rows, tiers, variants and the
matching of names follow genai-prices, whose calculator the tests hold this against.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from spanloom_schemas.prices.own import Own, read_own

BUCKETS = ("input", "cache_read", "cache_write", "output", "reasoning")
"""The five disjoint kinds of tokens."""

_INSTEAD = {"cache_read": "input", "cache_write": "input", "reasoning": "output"}
_MILLION = 10**6

_ALIASES = {
    "x_ai": "x-ai",
    "gcp.gen_ai": "google",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.openai": "azure",
    "az.ai.inference": "azure",
}
"""OpenTelemetry's provider names that genai-prices would not find, or would take for another provider."""


class Bracket(NamedTuple):
    """Rates of calls whose input (cache reads and writes included) is above a number of tokens."""

    above: int
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


class Rate(NamedTuple):
    """What a call costs: brackets by ascending `above`, the first from 0 (-1); and nano-dollars a call."""

    brackets: tuple[Bracket, ...]
    request: int

    def cost(self, input: int, cache_read: int, cache_write: int, output: int, reasoning: int) -> int:
        """Nano-dollars of one call, rounded half up once; the highest bracket reached prices all of its tokens."""
        total = input + cache_read + cache_write
        bracket = next(b for b in reversed(self.brackets) if total > b.above)
        tokens = (input, cache_read, cache_write, output, reasoning)
        exact = sum(count * rate for count, rate in zip(tokens, bracket[1:], strict=True))
        return (exact + _MILLION // 2) // _MILLION + self.request


class Row(msgspec.Struct, frozen=True):
    """Prices under a condition: from a UTC date on, or between two minutes of the UTC day."""

    rates: dict[str, Any]
    start: str | None = msgspec.field(default=None, name="from")
    between: tuple[int, int] | None = None
    when: dict[str, str] | None = None

    def active(self, at: datetime) -> bool:
        """Whether the row counts at a time."""
        if self.start is not None:
            return at.date().isoformat() >= self.start
        if self.between is not None:
            start, end = self.between
            minute = at.hour * 60 + at.minute
            return start <= minute < end if start <= end else minute >= start or minute < end
        return True


class Model(msgspec.Struct, frozen=True):
    """One model of a provider."""

    id: str
    match: dict[str, Any]
    prices: list[Row]
    variants: list[Row] = []


class Provider(msgspec.Struct, frozen=True):
    """One provider; `fallback` names those whose models it also serves, at their standard prices."""

    id: str
    models: list[Model]
    match: dict[str, Any] | None = None
    model_match: dict[str, Any] | None = None
    fallback: list[str] = []


class _Data(msgspec.Struct, frozen=True):
    source: str
    providers: list[Provider]


class Book:
    """Rates of model calls; immutable, and its answers are remembered."""

    def __init__(self, providers: list[Provider], own: list[Own], version: str) -> None:
        self.version = version
        """Short hash of the data, people's own prices included."""
        self._providers = providers
        self._by_id = {provider.id: provider for provider in providers}
        self._own = own
        self.rate = lru_cache(maxsize=65536)(self._rate)
        self._found = lru_cache(maxsize=16384)(self._find)

    @classmethod
    def load(cls, extra_file: str | Path | None = None) -> "Book":
        """The book that comes with the package, with the prices of `extra_file` (YAML or JSON) before its own.

        Raises PricesError, one line that names the file and the entry, for a file that cannot be used.
        """
        data = (files("spanloom_schemas.prices") / "book.json").read_bytes()
        extra = b""
        own: list[Own] = []
        if extra_file:
            extra, own = read_own(Path(extra_file))
        version = hashlib.sha256(data + b"\0" + extra).hexdigest()[:12]
        return cls(msgspec.json.decode(data, type=_Data).providers, own, version)

    def _rate(self, provider: str | None, model: str, tier: str | None, at: int) -> Rate | None:
        """The rate of a call, None where there is none.

        `provider` is OpenTelemetry's name or genai-prices'; None: found by the model. `tier` is a service tier (batch,
        flex, priority, fast; None: standard). `at` is epoch seconds.
        """
        time, tier = datetime.fromtimestamp(at, UTC), tier or "standard"
        own = [row for row in self._own if row.fits(provider, model, tier, time)]
        if own:
            return _assembled(max(own, key=lambda row: row.since).rates())
        model_found, native = self._found(provider, model.lower())
        if model_found is None:
            return None
        rates = _rates(model_found, time, _context(tier) if native else {})
        return _assembled(rates)

    def _find(self, provider: str | None, model: str) -> tuple[Model | None, bool]:
        """A model, and whether it is the provider's own (not one it serves for another)."""
        if provider and provider.lower() == "litellm" and "/" in model:
            provider, model = model.split("/", 1)
        seller = self._provider(provider, model)
        if seller is None:
            return None, False
        dashed = re.sub(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)", r"-\1-\2-\3", model)
        for name in dict.fromkeys((model, dashed)):
            for number, owner in enumerate([seller, *(self._by_id[other] for other in seller.fallback)]):
                for candidate in owner.models:
                    if matches(candidate.match, name):
                        return candidate, number == 0
        return None, False

    def _provider(self, name: str | None, model: str) -> Provider | None:
        if not name:
            return next((p for p in self._providers if p.model_match and matches(p.model_match, model)), None)
        name = name.lower().strip()
        name = _ALIASES.get(name, name)
        if name in self._by_id:
            return self._by_id[name]
        return next((p for p in self._providers if p.match and matches(p.match, name)), None)


def matches(clause: Mapping[str, Any], text: str) -> bool:
    """Whether a clause of the book fits a lower-case text."""
    ((kind, what),) = clause.items()
    match kind:
        case "equals":
            return bool(text == what)
        case "in":
            return text in what
        case "starts_with":
            return text.startswith(what)
        case "ends_with":
            return text.endswith(what)
        case "contains":
            return what in text
        case "regex":
            return re.search(what, text) is not None
        case "or":
            return any(matches(part, text) for part in what)
        case _:
            return all(matches(part, text) for part in what)


def _context(tier: str) -> dict[str, str]:
    said = {"service_tier": tier}
    if tier == "batch":
        said["processing"] = "batch"
    if tier == "fast":
        said["speed"] = "fast"
    return said


def _rates(model: Model, at: datetime, context: Mapping[str, str]) -> dict[str, Any]:
    """The last active row, overridden key by key by the first variant that fits."""
    standard = next((row for row in reversed(model.prices) if row.active(at)), model.prices[0]).rates
    over: dict[str, Any] = {}
    for variant in model.variants:
        if variant.active(at) and all(context.get(key) == value for key, value in (variant.when or {}).items()):
            over = {**variant.rates, **over}
    return {**standard, **over}


def _assembled(rates: Mapping[str, Any]) -> Rate | None:
    """Rates by bucket, each `base` or `[base, [above, rate], …]`, as brackets; None without a price of tokens."""
    if "input" not in rates and "output" not in rates:
        return None
    stairs = {name: rate if isinstance(rate, list) else [rate] for name, rate in rates.items()}
    edges = sorted({step[0] for stair in stairs.values() for step in stair[1:]})
    return Rate(tuple(_bracket(stairs, edge) for edge in (-1, *edges)), stairs.get("request", [0])[0])


def _bracket(stairs: Mapping[str, list[Any]], above: int) -> Bracket:
    def rate(bucket: str) -> int:
        stair = stairs.get(bucket) or stairs.get(_INSTEAD.get(bucket, ""), [0])
        return int(next((step[1] for step in reversed(stair[1:]) if step[0] <= above), stair[0]))

    return Bracket(above, *(rate(bucket) for bucket in BUCKETS))
