"""Lengths of time as people write them."""

from datetime import timedelta

import pytest
from spanloom_schemas.periods import period


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
        ("999999999d", timedelta(days=3650)),
        *((text, None) for text in ("", "7", "d", "7 d", "-7d", "1.5h", "7w", "7d\n", "9999999999s")),
    ],
)
def test_a_period_is_a_number_and_a_unit(text: str, length: timedelta | None) -> None:
    assert period(text) == length
