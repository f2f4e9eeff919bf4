"""Write `book.json` from the installed genai-prices: `python -m spanloom_schemas.prices.generate` (development only).

Kept are token prices and prices per request; what a span does not count (audio hours, searches, pages) is left out.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spanloom_schemas.prices.book import BUCKETS

_RATES = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
}
_PER_REQUEST = "requests_kcount"
_NANO = 10**9


def book() -> str:
    """The price book as the text of `book.json`: one model a line, so that a change shows as few lines."""
    from genai_prices.data import providers

    said = [_provider(provider) for provider in providers]
    lines = [json.dumps({"source": f"genai-prices {version('genai-prices')}"})[:-1] + ', "providers": [']
    for number, provider in enumerate(said):
        models = provider.pop("models")
        lines.append(_compact(provider)[:-1] + ',"models":[')
        lines += [_compact(model) + "," for model in models[:-1]]
        lines += [_compact(models[-1]), "]}" + ("," if number + 1 < len(said) else "")]
    return "\n".join([*lines, "]}", ""])


def _provider(provider: Any) -> dict[str, Any]:
    found = {
        "id": provider.id,
        "match": provider.provider_match and _clause(provider.provider_match),
        "model_match": provider.model_match and _clause(provider.model_match),
        "fallback": provider.fallback_model_providers,
        "models": [_model(model) for model in provider.models],
    }
    return {key: value for key, value in found.items() if value}


def _model(model: Any) -> dict[str, Any]:
    rows = model.prices if isinstance(model.prices, list) else [model]
    found = {"id": model.id, "match": _clause(model.match), "prices": [_row(row) for row in rows]}
    if model.price_variants:
        found["variants"] = [{"when": variant.when, **_row(variant)} for variant in model.price_variants]
    return found


def _row(row: Any) -> dict[str, Any]:
    constraint = getattr(row, "constraint", None)
    found: dict[str, Any] = {"rates": _rates(row.prices)}
    if start := getattr(constraint, "start_date", None):
        found["from"] = start.isoformat()
    elif constraint is not None:
        found["between"] = [_minute(constraint.start_time), _minute(constraint.end_time)]
    return found


def _minute(time: Any) -> int:
    if time.utcoffset() or time.second:
        raise ValueError(f"{time} is no whole minute of UTC")
    return int(time.hour) * 60 + int(time.minute)


def _rates(prices: Any) -> dict[str, Any]:
    found = {name: _amount(getattr(prices, key), 1) for key, name in _RATES.items() if getattr(prices, key) is not None}
    per_thousand = getattr(prices, _PER_REQUEST)
    if per_thousand is not None:
        found["request"] = _amount(per_thousand, 1000)
    return {name: found[name] for name in (*BUCKETS, "request") if name in found}


def _amount(price: Any, per: int) -> Any:
    if hasattr(price, "tiers"):
        return [_nano(price.base, per), *([tier.start, _nano(tier.price, per)] for tier in price.tiers)]
    return _nano(price, per)


def _nano(dollars: Any, per: int) -> int:
    return int((dollars * _NANO / per).to_integral_value())  # some of the data have a float's dust in the 17th digit


def _clause(clause: Any) -> dict[str, Any]:
    ((key, what),) = vars(clause).items()
    kind = key.rstrip("_")
    if kind not in ("or", "and"):
        return {kind: what if kind == "regex" else what.lower()}
    parts = [_clause(part) for part in what]
    if kind == "or" and all("equals" in part for part in parts):
        return {"in": [part["equals"] for part in parts]}
    return {kind: parts}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    Path(__file__).with_name("book.json").write_text(book(), "utf-8")
