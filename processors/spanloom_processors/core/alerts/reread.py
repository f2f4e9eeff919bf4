"""What of a re-read log of llm.panes can still matter.

A restart reads back to the beginning of the open hour, where every version of a pane comes again: about ten rows of
which one counts. While nothing is judged and no hour closes nobody looks at the sums, so only the last word of each
pane and key is folded.
"""

import polars as pl
from spanloom_schemas.panes import KEY

from spanloom_processors.core.alerts.rules import PANE_MS
from spanloom_processors.core.alerts.versions import AHEAD_MS
from spanloom_processors.core.alerts.windows import HOUR_MS

SKEW_MS = 60_000
"""A worker's clock, which says how far an idle partition is, may be ahead of the log's by less than this."""


def horizon(headers: pl.DataFrame) -> int:
    """How far some messages of llm.panes get: the latest log time or progress in them."""
    return max(headers["log_time"].max(), headers["progress"].max())  # type: ignore[type-var,return-value]


def is_settled(headers: pl.DataFrame, judged: int) -> bool:
    """Whether these messages were folded, and what they led to was stored, before `judged` was committed."""
    return headers.height > 0 and horizon(headers) + SKEW_MS <= judged


def last_words(headers: pl.DataFrame, panes: pl.DataFrame, clock: int) -> pl.DataFrame:
    """The rows of settled messages without those that the fold would replace before anybody looks.

    `clock`: the log clock before these messages. Of the versions of a pane and key the one with most spans, the first
    of equals, comes in the message of the first of them, so that groups are admitted in the order of the log. Late rows
    and hours that may close among these messages stay as they are.
    """
    sources = headers.filter(pl.col("partition") >= 0)
    if panes.is_empty() or sources["revision"].n_unique() > 1:
        return panes
    arrival = (pl.max_horizontal(pl.col("log_time").cum_max(), clock) // PANE_MS * PANE_MS).alias("arrival")
    source = headers.select("offset", "topic_id", "partition", arrival)
    rows = panes.select("offset", "start", "late_offset", *KEY, pl.col("spans").fill_null(0))
    rows = rows.with_row_index("row").join(source, on="offset", how="left", maintain_order="left")
    stays = pl.col("start") // HOUR_MS * HOUR_MS + HOUR_MS > max(horizon(headers), clock)
    rows = rows.with_columns(
        replaceable=pl.col("late_offset").is_null() & stays & (pl.col("start") <= pl.col("arrival") + AHEAD_MS)
    )
    versions = rows.filter("replaceable").group_by("topic_id", "partition", "start", *KEY)
    counting = versions.agg(
        pl.col("row", "offset").first().name.prefix("first_"), pl.col("row").get(pl.col("spans").arg_max())
    ).select("row", at="first_row", offset="first_offset")
    others = rows.filter(~pl.col("replaceable")).select("row", pl.col("row").alias("at"), "offset")
    kept = pl.concat([counting, others]).sort("at")
    return panes[kept["row"]].with_columns(kept["offset"])
