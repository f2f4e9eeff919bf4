import io

import pytest
from rich.console import Console
from spanloom_traces.model import Answer, Trace
from spanloom_viewer import tables, wording

WIDE = Answer(tuple(f"column_{n}" for n in range(40)), (tuple(f"value_{n}" for n in range(40)),))


def printed(renderable, console: Console) -> str:
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def listed(**facts) -> str:
    trace = Trace("ab" * 16, "chat", "POST /chat", 0, 9, 9, 1, **facts)
    return printed(tables.traces([trace]), console(160))


@pytest.mark.parametrize("width", [80, 160])
def test_a_row_too_wide_for_the_terminal_is_a_column_a_line(width):
    screen = console(width)
    lines = printed(tables.answer(WIDE, 9, screen), screen).splitlines()
    assert [line.split() for line in lines] == [[f"column_{n}:", f"value_{n}"] for n in range(40)]


def test_several_such_rows_are_told_apart_and_the_rest_is_counted():
    screen = console(80)
    text = printed(tables.answer(Answer(WIDE.columns, WIDE.rows * 3), 2, screen), screen)
    assert [line.strip() for line in text.splitlines() if line.startswith("row")] == ["row 1", "row 2"]
    assert "1 more rows" not in text
    assert "1 more row; --json and --csv write them all" in text


def test_what_fits_is_a_table():
    screen = console(80)
    first, _, second = printed(tables.answer(Answer(("a", "b"), ((1, None),)), 9, screen), screen).splitlines()
    assert (first.split(), second.split()) == (["a", "b"], ["1", "null"])


def test_a_long_text_is_shown_whole_up_to_400_characters_in_a_narrow_terminal():
    screen = console(40)
    text = printed(tables.answer(Answer(("message",), (("x" * 300,),)), 9, screen), screen)
    assert text.count("x") == 300
    assert max(map(len, text.splitlines())) <= 40


@pytest.mark.parametrize(
    ("cost", "unpriced", "said"),
    [(0, 0, "$0.00"), (0, 2, "unknown"), (None, 0, "unknown"), (2_500_000, 0, "$0.002500"), (9 * 10**9, 1, "≥ $9.00")],
)
def test_an_unknown_cost_of_a_trace_is_never_zero_and_a_part_is_a_lower_bound(cost, unpriced, said):
    text = listed(cost=cost, unpriced=unpriced)
    assert said in text
    assert ("$0.00 " in text) == (said == "$0.00")
    assert ("≥" in text) == said.startswith("≥")


def test_one_is_singular():
    assert [wording.several(n, "span") for n in (0, 1, 2, 1000)] == ["0 spans", "1 span", "2 spans", "1,000 spans"]
