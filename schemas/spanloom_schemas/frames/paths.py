"""The tree of each trace: parents, self times, and the critical path, for all traces of a frame at once.

The critical path is what Jaeger and CRISP (Zhang et al., USENIX ATC 2022) draw: from the end of the top span back,
always into the child that finished last before the point reached, each span cut to the window of its parent. Which
children are taken depends on their siblings only, so a span is on the path when it and all its ancestors are taken. The
chain of siblings and the line of ancestors are followed by pointer doubling: as many rounds as the number of spans of
the largest trace has bits, whatever its shape, and no loop over spans.
"""

import polars as pl

from spanloom_schemas.frames.durations import lasted

_FIRST_NS = -(2**63)


def tree(spans: pl.DataFrame) -> pl.DataFrame:
    """Who is whose parent.

    `spans`: trace (a number), span_id (once in a trace), parent_id, kind, start, end; sorted by trace, start, span_id.
    Added: row, parent (its row; null: none, not there, or the span itself) and top: the one span of its trace that the
    others are seen from. That is the earliest without a parent_id; else the earliest whose parent is not there; else (a
    ring) the earliest; feedback only where there is nothing else. The top has no parent.
    """
    rows = spans.with_row_index("row")
    ids = rows.select("trace", "row", parent_id="span_id")
    found = rows.select("trace", "parent_id").join(ids, on=["trace", "parent_id"], how="left", maintain_order="left")
    rows = rows.with_columns(parent=pl.when(found["row"] != pl.col("row")).then(found["row"]))
    rank = (
        pl.when(pl.col("kind") == "feedback").then(3)
        .when(pl.col("parent_id").is_null()).then(0)
        .when(pl.col("parent").is_null()).then(1)
        .otherwise(2)
    )  # fmt: skip
    tops = rows.group_by("trace", maintain_order=True).agg(pl.col("row").gather(rank.arg_min()).first())
    rows = rows.with_columns(_marked(rows.height, tops["row"]).alias("top"))
    return rows.with_columns(parent=pl.when(~pl.col("top")).then("parent"))


def self_times(rows: pl.DataFrame) -> pl.Series:
    """Of each span of a `tree` the ns that none of its children covers."""
    parent = rows["parent"]
    cut = pl.DataFrame(
        {
            "parent": parent,
            "start": _later(rows["start"], rows["start"].gather(parent)),
            "end": _earlier(rows["end"], rows["end"].gather(parent)),
        }
    ).filter(pl.col("parent").is_not_null() & (pl.col("end") > pl.col("start")))
    # The running maximum of ends starts anew with each parent, as its number is put in front of the 64 bits of the end.
    front = pl.col("parent").cast(pl.Int128) * 2**64
    reached = ((front + pl.col("end")).cum_max().shift(1) - front).clip(_FIRST_NS, None).cast(pl.Int64)
    fresh = lasted(pl.max_horizontal("start", reached), pl.col("end"))
    # Siblings are in order of their starts already, and what is cut to one parent's window stays so.
    covered = cut.sort("parent", maintain_order=True).select("parent", fresh.alias("ns"))
    covered = covered.group_by("parent").agg(pl.col("ns").sum())
    whole = rows.select(lasted(pl.col("start"), pl.col("end"))).to_series()
    return (whole - _spread(covered["parent"], covered["ns"], rows.height)).clip(0, None).alias("self")


def critical_path(rows: pl.DataFrame) -> pl.DataFrame:
    """The steps of a `tree`'s paths: row, and self (ns of the path spent in that span itself), in order of time.

    A parent comes before its children. The steps of a trace add up to the duration of its top span.
    """
    rounds = max(rows.group_by("trace").len()["len"].to_list(), default=0).bit_length()
    seen = _windows(rows, rounds)
    taken = _taken(seen.filter("live"), rows.height, rounds) | rows["top"]
    up = seen["up"]
    for _ in range(rounds):
        taken, up, last = taken & taken[up], up[up], up
        if up.equals(last):
            break
    steps = seen.filter(taken).with_columns(ns=lasted(pl.col("start"), pl.col("end")))
    inner = steps.filter(pl.col("parent").is_not_null()).group_by("parent").agg(pl.col("ns").sum())
    within = _spread(inner["parent"], inner["ns"], rows.height).gather(steps["row"])
    return (
        steps.with_columns((pl.col("ns") - within).clip(0, None).alias("self"))
        .sort("trace", "start", "depth", "row")
        .select("row", "self")
    )


def _windows(rows: pl.DataFrame, rounds: int) -> pl.DataFrame:
    """Spans cut to the windows of all their ancestors; up: the parent or itself; live: below the top, and not empty."""
    start, end = rows["start"], _later(rows["end"], rows["start"])
    depth = rows["parent"].is_not_null().cast(pl.UInt32)
    first_up = up = rows["parent"].fill_null(rows["row"])
    for _ in range(rounds):
        start, end = _later(start, start[up]), _earlier(end, end[up])
        depth, up, last = depth + depth[up], up[up], up
        if up.equals(last):
            break
    below = rows["top"][up] & ~rows["top"]
    cut = {"start": start, "end": end, "depth": depth, "up": first_up, "live": below & (end > start)}
    return rows.select("trace", "row", "parent").with_columns(**cut)


def _taken(live: pl.DataFrame, height: int, rounds: int) -> pl.Series:
    """By row: the last child of each parent, and on, each time, the last that ended before the one taken began."""
    by_end = live.select("parent", "row", "end").sort("end", maintain_order=True)
    before = (
        live.select("parent", "row", "start")
        .sort("start")
        .join_asof(by_end.rename({"row": "next"}), left_on="start", right_on="end", by="parent", check_sortedness=False)
    )
    following = pl.Series([None], dtype=pl.UInt32).new_from_index(0, height).scatter(before["row"], before["next"])
    taken = _marked(height, by_end.group_by("parent").agg(pl.col("row").last())["row"])
    for _ in range(rounds):
        reached = following.filter(taken).drop_nulls()
        if reached.is_empty():
            break
        taken |= _marked(height, reached)
        following = following.gather(following)
    return taken


def _marked(height: int, rows: pl.Series) -> pl.Series:
    return pl.Series([False]).new_from_index(0, height).scatter(rows, values=True)


def _spread(rows: pl.Series, values: pl.Series, height: int) -> pl.Series:
    return pl.Series([0]).new_from_index(0, height).scatter(rows, values)


def _later(one: pl.Series, other: pl.Series) -> pl.Series:
    return one.zip_with(one >= other, other)


def _earlier(one: pl.Series, other: pl.Series) -> pl.Series:
    return one.zip_with(one <= other, other)
