"""People's own prices, in a YAML or JSON file.

    prices:
      - provider: ollama          # OpenTelemetry's name; left out: any
        model: llama3*            # * matches anything; case does not count
        input: 0                  # dollars per million tokens
        output: 0
      - model: acme-large
        from: 2026-07-01          # UTC date; left out: always
        tier: batch               # left out: any
        input: 0.50
        cache_read: 0.05          # left out: as input; reasoning: as output
        output: 1.50
        request: 0.001            # dollars a call
        above: {200000: {input: 1.0, output: 3.0}}

They come before the book's. Of entries that fit, the one with the latest `from` counts; among equals, the first.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import yaml

_NANO = 10**9


class PricesError(ValueError):
    """A file of prices cannot be used; the message is one line that names the file and the entry."""


class Amounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens by bucket."""

    input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    output: Decimal | None = None
    reasoning: Decimal | None = None


class Own(Amounts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file."""

    model: str
    provider: str | None = None
    tier: str | None = None
    since: date = msgspec.field(default=date.min, name="from")
    request: Decimal = Decimal(0)
    above: dict[int, Amounts] = {}

    def fits(self, provider: str | None, model: str, tier: str, at: datetime) -> bool:
        """Whether the entry prices such a call at a time."""
        return (
            (self.provider is None or self.provider.lower() == (provider or "").lower())
            and (self.tier is None or self.tier == tier)
            and self.since <= at.date()
            and fnmatchcase(model.lower(), self.model.lower())
        )

    def rates(self) -> dict[str, Any]:
        """As the book says it: nano-dollars per million tokens by bucket, `base` or `[base, [above, rate], …]`."""
        found: dict[str, Any] = {name: [_nano(amount)] for name, amount in _said(self).items()}
        for above, amounts in sorted(self.above.items()):
            for name, amount in _said(amounts).items():
                found.setdefault(name, [_nano(amount)]).append([above, _nano(amount)])
        return found | {"request": _nano(self.request)}


def read_own(path: Path) -> tuple[bytes, list[Own]]:
    """The bytes of a file of prices, and its entries. Raises PricesError."""
    try:
        data = path.read_bytes()
        said = yaml.safe_load(data)
    except OSError as error:
        raise PricesError(f"the prices file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise PricesError(f"the prices file {path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(said, dict) or not isinstance(said.get("prices"), list) or len(said) != 1:
        raise PricesError(f"the prices file {path} must hold one list, `prices`")
    return data, [_entry(path, number, entry) for number, entry in enumerate(said["prices"], 1)]


def _entry(path: Path, number: int, entry: Any) -> Own:
    name = f" ({entry['model']})" if isinstance(entry, dict) and "model" in entry else ""
    where = f"the prices file {path}, entry {number}{name}"
    try:
        own = msgspec.convert(_decimal(entry), Own, strict=False)
        amounts = [own, *own.above.values()]
        if own.input is None and own.output is None:
            raise PricesError(f"{where}: neither input nor output has a price")
        if any(amount < 0 or _nano(amount) != amount * _NANO for a in amounts for amount in _said(a).values()):
            raise PricesError(f"{where}: a price is negative or finer than a nano-dollar")
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise PricesError(f"{where}: {error}") from None
    return own


def _decimal(said: Any) -> Any:
    """Numbers as people wrote them: 0.1 is a tenth, not the float next to it."""
    if isinstance(said, dict):
        return {key: _decimal(value) for key, value in said.items()}
    return Decimal(repr(said)) if isinstance(said, float) else said


def _said(amounts: Amounts) -> Mapping[str, Decimal]:
    names = Amounts.__struct_fields__
    return {name: getattr(amounts, name) for name in names if getattr(amounts, name) is not None}


def _nano(dollars: Decimal) -> int:
    return int(dollars * _NANO)
