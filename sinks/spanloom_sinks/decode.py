"""Messages of any topic → frames; what cannot be read is set aside with its reason."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import polars as pl
from spanloom_schemas import bounds, codec, topics
from spanloom_schemas.codec import Registry
from spanloom_schemas.frames import bounded, shape
from spanloom_schemas.frames.splice import Dead, Decoded, Message

_SPLICED = ("span_batch", "pane_batch", "trace_batch", "sample_batch")


def decode(topic: str, messages: Sequence[Message], registry: Registry | None = None) -> Decoded:
    """Messages of `topic`, ordered by offset; never raises for what is in them, only RegistryError: try again then.

    Of a topic whose messages are one record each, `rows` has that record's fields beside `message_time`, the log time.
    """
    about = topics.load()[topic]
    if about.cleanup == "compact":  # a message without a value deletes what its key had: there is nothing to read
        messages = [message for message in messages if message[2]]
    if about.schema in _SPLICED:
        return bounded.decode(about.schema, messages, registry)
    return _records(about.schema, messages, registry)


def _records(schema: str, messages: Sequence[Message], registry: Registry | None) -> Decoded:
    good: list[dict[str, Any]] = []
    headers: list[tuple[int, int]] = []
    dead: list[Dead] = []
    for offset, log_time, value in messages:
        try:
            datum = bounds.decode(schema, value, registry)
        except codec.CodecError as error:
            dead.append(Dead(offset, log_time, error.reason, str(error), value))
        else:
            good.append({**datum, "message_time": log_time})
            headers.append((offset, log_time))
    return Decoded(
        rows=pl.DataFrame(good, schema=_columns(schema)),
        headers=pl.DataFrame(headers, schema={"offset": pl.Int64, "log_time": pl.Int64}, orient="row"),
        dead=dead,
    )


@cache
def _columns(schema: str) -> dict[str, pl.DataType]:
    return shape.columns(codec.newest(schema).source) | {"message_time": pl.Int64()}
