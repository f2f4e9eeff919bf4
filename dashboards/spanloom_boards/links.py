"""Links: from a number to the traces behind it, from board to board."""

from typing import Any
from urllib.parse import quote

from spanloom_boards.sql import FILTERS

TRACES = "spanloom-traces"
SAVED = {"costly": "High-cost prompts", "slow": "Slow queries", "blocked": "Safety blocks spike"}
"""Saved views of traces that every board leads to."""
NARROWING = (*FILTERS, "model", "prompt_version", "run_id", "experiment", "user", "block_reason")
"""Variables of the board Traces that are named as the columns they filter."""
Link = dict[str, Any]


def to(uid: str, title: str, *carried: str, **given: str) -> Link:
    """A data link to a board in the same time range: the `carried` variables as they are, `given` ones as said."""
    variables = [f"${{{name}:queryparam}}" for name in ("datasource", *carried)]
    said = [f"var-{name}={value if value.startswith('$') else quote(value)}" for name, value in given.items()]
    return {"title": title, "url": f"/d/{uid}?{'&'.join([*variables, *said])}&${{__url_time_range}}"}


def traces(view: str = "latest", title: str = "The traces behind this", **given: str) -> Link:
    """To the traces that the board's filters leave, in a saved view; `given` filters replace the board's."""
    return to(TRACES, title, *(name for name in FILTERS if name not in given), view=view, **given)


def of_series(label: str, view: str = "latest") -> Link:
    """To the traces of a series whose label is one of those that narrow them."""
    return traces(view, **{label: f"${{__field.labels.{label}}}"})


def of_row(*columns: str, view: str = "latest", **named: str) -> Link:
    """To the traces of a table's row: `columns` are filters, `named` says which filter another column is."""
    fields = {name: name for name in columns} | named
    return traces(view, "The traces of this row", **{name: f"${{__data.fields.{of}}}" for name, of in fields.items()})


TRACE: Link = to(TRACES, "Open the trace", trace_id="${__value.raw}")
"""Of a cell that holds a trace id."""
