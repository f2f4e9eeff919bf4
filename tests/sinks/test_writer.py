"""What a failed insert leaves behind: its rows, or only its token, and the next one makes it whole."""

import time

import polars as pl
import pytest
from spanloom_sinks.lane import Block
from spanloom_sinks.metrics import Metrics
from spanloom_sinks.pending import token
from spanloom_sinks.source import Source
from spanloom_sinks.store import StoreError
from spanloom_sinks.tables import tables
from spanloom_sinks.writer import Writer


class Failing:
    """The tables, whose insert fails as often as said: before the rows are there, or after."""

    def __init__(self, store):
        self.before = self.after = 0
        self._store = store

    def insert(self, table, rows, token=None):
        if self.before:
            self.before -= 1
            raise StoreError("no room")
        self._store.insert(table, rows, token)
        if self.after:
            self.after -= 1
            raise StoreError("no answer")

    def __getattr__(self, name):
        return getattr(self._store, name)


@pytest.fixture
def failing(store):
    return Failing(store)


@pytest.fixture
def write(failing, book, traffic):
    """Write a block of 5 spans until it is written; `first`: what is done before, with the block and its token."""
    writer = Writer(failing, tables(book), None, Metrics())

    def until_written(first=lambda block, token: None):
        producer = traffic.id(4)
        source = Source("llm.spans", producer, 0, 0)
        now = int(time.time() * 1000)
        messages = [(7, now, traffic.encoded([traffic.span(end=now * 10**6) for _ in range(5)], producer=producer))]
        block = Block(source, 7, messages, repeated=False)
        writer.prepare(block)
        first(block, token(source.topic_id, 0, 7, 7))
        while block.written < len(block.rows):
            try:
                writer.write(block)
            except StoreError:
                continue
        return producer

    return until_written


def stored(store, producer):
    count = "SELECT count() FROM {} WHERE producer = {{p:String}}"
    return [store.query(count.format(table), p=producer).item() for table in ("spans", "batches")]


def test_rows_that_came_without_an_answer_come_once(write, failing, store):
    failing.after = 1
    assert stored(store, write()) == [5, 1]


def test_rows_are_stored_though_their_token_is_known_and_they_are_not_there(write, failing, store):
    def token_without_rows(block, token):
        for table, rows in block.rows:
            other = {"producer": "another", "topic_id": "another"}
            store.insert(table, rows.with_columns(**{name: pl.lit(value) for name, value in other.items()}), token)

    failing.before = 1
    assert stored(store, write(token_without_rows)) == [5, 1]
