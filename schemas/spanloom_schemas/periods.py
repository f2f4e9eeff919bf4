"""Lengths of time as people write them."""

import re
from datetime import timedelta

EXAMPLES = "90s, 15m, 6h or 7d"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def period(text: str) -> timedelta | None:
    """The length of time that `text` is, such as 90s, 15m, 6h or 7d, at most ten years; None: it is none."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    return min(timedelta(**{_UNITS[found[2]]: int(found[1])}), _LONGEST) if found else None
