"""Which log a block of messages came from, and what its clock said before the first of them."""

from typing import NamedTuple

import polars as pl
from spanloom_schemas.frames.splice import Decoded


class Source(NamedTuple):
    """A partition of a topic, and its log clock (epoch ms) before the block."""

    topic: str
    topic_id: str
    partition: int
    log_clock: int


def clocks(decoded: Decoded, log_clock: int) -> pl.DataFrame:
    """The log clock (`log_clock`, epoch ms) at each message (`offset`): the maximum of log times up to its own.

    Messages that cannot be read move the clock too.
    """
    dead = pl.DataFrame(
        [(letter.offset, letter.log_time) for letter in decoded.dead],
        schema={"offset": pl.Int64, "log_time": pl.Int64},
        orient="row",
    )
    messages = pl.concat([decoded.headers.select("offset", "log_time"), dead]).sort("offset")
    clock = pl.max_horizontal(pl.col("log_time").cum_max(), pl.lit(log_clock, pl.Int64))
    return messages.select("offset", log_clock=clock)
