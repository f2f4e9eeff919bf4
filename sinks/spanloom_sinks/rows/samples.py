"""llm.samples → `samples`: a row a quantity of a machine or GPU in ten seconds."""

import polars as pl
from spanloom_schemas.frames.splice import Decoded

from spanloom_sinks.rows.columns import text, time_ms
from spanloom_sinks.source import Source

_HEADER = ("environment", "host", "epoch", "start", "sdk")


def rows(decoded: Decoded, source: Source) -> pl.DataFrame:
    """The rows of `samples`."""
    samples = decoded.rows.join(
        decoded.headers.select("offset", *_HEADER), on="offset", how="left", maintain_order="left"
    )
    return samples.select(
        text("environment", "host", "gpu_id", "quantity"),
        time_ms("start"),
        "epoch",
        text("gpu_uuid", "gpu_model"),
        *("count", "failed", "sum", "lowest", "highest"),
        text("sdk"),
        time_ms("log_time"),
    )
