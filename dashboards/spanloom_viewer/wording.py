"""Values as a person reads them. Text from spans is foreign: `clean` takes out what would move the cursor."""

import unicodedata
from datetime import UTC, datetime

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str, limit: int = 200) -> str:
    """`text` on one line, at most `limit` characters; control, format and bidirectional characters become U+FFFD."""
    shortened = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(_visible(character) for character in shortened)


def _visible(character: str) -> str:
    if character in "\t\n\r":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNPRINTABLE else character


def duration(ns: int | None) -> str:
    """Three figures and a unit."""
    if ns is None:
        return "–"
    for unit, size in (
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("µs", 1_000),
    ):
        if abs(ns) >= size:
            return f"{_three_figures(ns / size)} {unit}"
    return f"{ns} ns"


def _three_figures(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def dollars(nano: int | None, unpriced: int = 0) -> str:
    """A cost beside which `unpriced` spans have no price: unknown is never 0, a part that is known is a lower bound."""
    if nano is None or (unpriced and not nano):
        return "unknown"
    value = nano / 1e9
    text = f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.{6 if value >= 0.0001 else 9}f}"
    return f"≥ {text}" if unpriced else text


def several(number: int, what: str) -> str:
    """1 span, 2 spans."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def count(number: int | None) -> str:
    """A count with thousands marked."""
    return "–" if number is None else f"{number:,}"


def moment(ns: int) -> str:
    """A time of day in UTC, to the millisecond; the date too, since a trace may be days old."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d} UTC"
