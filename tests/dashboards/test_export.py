import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom_traces.model import Answer
from spanloom_viewer.export import csv_text, json_lines


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    text = csv_text(Answer(("name",), ((f"{start}cmd|' /C calc'!A0",),)))
    (_, (cell,)) = csv.reader(io.StringIO(text, newline=""))
    assert cell == f"'{start}cmd|' /C calc'!A0"


def test_a_number_stays_a_number_even_below_zero():
    assert csv_text(Answer(("n", "x"), ((-5, -0.5),))).splitlines() == ["n,x", "-5,-0.5"]


@given(st.lists(st.tuples(st.text(), st.integers(), st.none()), max_size=5))
def test_csv_brings_back_every_text_it_was_given(rows):
    text = csv_text(Answer(("a", "b", "c"), tuple(rows)))
    _, *back = csv.reader(io.StringIO(text, newline=""))
    unguarded = [cell if cell == row[0] else cell.removeprefix("'") for row, (cell, *_) in zip(rows, back, strict=True)]
    assert unguarded == [row[0] for row in rows]
    assert [tuple(rest) for _, *rest in back] == [(str(row[1]), "") for row in rows]


def test_json_lines_hold_every_kind_of_value_in_ascii():
    row = ("\x1b[2J\u202e", datetime(2026, 1, 2, tzinfo=UTC), Decimal("0.10"), [1, {"a": b"\xff"}], float("nan"), None)
    text = json_lines(Answer(("text", "time", "money", "list", "nan", "none"), (row,)))
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {
        "text": "\x1b[2J\u202e",
        "time": "2026-01-02T00:00:00+00:00",
        "money": "0.10",
        "list": [1, {"a": "ff"}],
        "nan": "nan",
        "none": None,
    }
