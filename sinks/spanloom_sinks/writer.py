"""A block of messages → rows in its tables, each exactly once."""

import time
from collections.abc import Mapping
from uuid import uuid4

import polars as pl
from spanloom_schemas.codec import Registry
from spanloom_schemas.fault import reach
from spanloom_schemas.frames.splice import Dead

from spanloom_sinks.database import Database
from spanloom_sinks.dead_letters import TOPIC as DEAD_LETTERS
from spanloom_sinks.dead_letters import DeadLetters
from spanloom_sinks.decode import decode
from spanloom_sinks.lane import Block
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.pending import token
from spanloom_sinks.rows.columns import encoded
from spanloom_sinks.source import Source
from spanloom_sinks.store import StoreError
from spanloom_sinks.tables import Table


class Writer:
    """Writes blocks to the store."""

    def __init__(
        self,
        store: Database,
        tables: Mapping[str, tuple[Table, ...]],
        letters: DeadLetters,
        metrics: Metrics,
        registry: Registry | None = None,
    ) -> None:
        self._registry = registry
        self._store, self._tables, self._letters, self._metrics = store, tables, letters, metrics

    def prepare(self, block: Block) -> None:
        """Make the block's rows; what cannot be read becomes a dead letter. Raises KafkaException when not sent,
        RegistryError when the schema registry is away: call again then.
        """
        decoded = decode(block.source.topic, block.messages, self._registry)
        self.bury(block.source, decoded.dead)
        tables = self._tables[block.source.topic]
        block.rows = [(table.name, encoded(table.rows(decoded, block.source), *table.labels)) for table in tables]

    def bury(self, source: Source, dead: list[Dead]) -> None:
        """Send what cannot be read to llm.dead_letters. Raises KafkaException when not sent: call again then."""
        if dead and source.topic != DEAD_LETTERS:
            self._letters.send(source, dead)
        for letter in dead:
            self._metrics.dead.labels(source.topic, letter.reason).inc()

    def write(self, block: Block) -> None:
        """Write what of the block is still to be written. Raises StoreError; call again then."""
        assert block.rows is not None
        while block.written < len(block.rows):
            if block.written:
                reach("sink.mid_insert")
            try:
                self._write(block, *block.rows[block.written])
            except StoreError:
                block.repeated = True
                raise
            block.written += 1
        newest = max(log_time for _, log_time, _ in block.messages)
        self._metrics.freshness.labels(block.source.topic).set(time.time() - newest / 1000)

    def _write(self, block: Block, table: str, rows: pl.DataFrame) -> None:
        first = token(block.source.topic_id, block.source.partition, block.first, block.last)
        if not block.repeated:
            self._insert(table, rows, first)
        elif table == "spans":
            self._complete(block, rows, first)
        else:  # an upsert: a row that is there already changes nothing
            self._insert(table, rows)

    def _complete(self, block: Block, rows: pl.DataFrame, first: str) -> None:
        """Insert what `spans` lacks, part by part, first under the block's own token: what failed may be under way yet.

        An engine that fails between token and rows, as on a full disk, remembers the token: it says yes to the next
        insert under it and stores nothing. Then the rows are sent under a token that nobody has heard of.
        """
        for _, part in self._missing(block, rows).group_by(pl.col("log_time").dt.date(), maintain_order=True):
            self._insert("spans", part, first)
            if self._missing(block, part).height == part.height:
                self._insert("spans", part, f"{first}:{uuid4()}")

    def _insert(self, table: str, rows: pl.DataFrame, token: str | None = None) -> None:
        if rows.is_empty():
            return
        begun = time.perf_counter()
        self._store.insert(table, rows, token)
        self._metrics.insert.labels(table).observe(time.perf_counter() - begun)
        self._metrics.rows.labels(table).inc(rows.height)

    def _missing(self, block: Block, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are not in `spans`."""
        times = [log_time for _, log_time, _ in block.messages]
        existing = self._store.existing(block.source, block.first, block.last, min(times), max(times))
        if existing.is_empty():
            return rows
        return rows.join(existing, on=["offset", "position"], how="anti", maintain_order="left")
