"""Every example message through every stage that reads its topic, into the real engine; rows fit their tables."""

import polars as pl
import pytest
from spanloom_schemas import codec, topics
from spanloom_schemas.prices.book import Book
from spanloom_sinks.decode import decode
from spanloom_sinks.source import Source
from spanloom_sinks.tables import tables

TOPICS = sorted(tables(Book.load()))
NOW = 1_700_000_000_000

# What a column of a table takes.
DTYPES = {
    "String": pl.String(),
    "LowCardinality(String)": pl.String(),
    "Bool": pl.Boolean(),
    "Int32": pl.Int32(),
    "Int64": pl.Int64(),
    "UInt32": pl.UInt32(),
    "Float64": pl.Float64(),
    "DateTime64(9, 'UTC')": pl.Datetime("ns", "UTC"),
    "DateTime64(3, 'UTC')": pl.Datetime("ms", "UTC"),
    "DateTime('UTC')": pl.Datetime("ms", "UTC"),
}


def dtype(clickhouse: str) -> pl.DataType:
    if clickhouse.startswith("Enum8"):
        return pl.Int8()
    if clickhouse.startswith("Array("):
        return pl.List(dtype(clickhouse[6:-1]))
    if clickhouse.startswith("Nullable("):
        return dtype(clickhouse[9:-1])
    if clickhouse.startswith("Tuple("):
        return pl.Struct({field.split(" ", 1)[0]: dtype(field.split(" ", 1)[1]) for field in _split(clickhouse[6:-1])})
    return DTYPES[clickhouse]


def _split(fields: str) -> list[str]:
    """The fields of a tuple: commas within brackets do not separate."""
    parts, depth = [""], 0
    for sign in fields:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def examples(topic):
    schema = topics.load()[topic].schema
    return [(n, NOW + n, codec.encode(schema, datum)) for n, datum in enumerate(topics.examples(topic))]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_example_is_stored_whole(topic, fill, store, book):
    for table in tables(book)[topic]:
        store.command(f"TRUNCATE TABLE {table.name}")
    written = fill(topic, examples(topic))
    for table, rows in written.items():
        assert rows.height > 0
        assert store.query(f"SELECT count() FROM {table}").item() == rows.height


@pytest.mark.parametrize("topic", TOPICS)
def test_rows_have_the_columns_and_types_of_their_tables(topic, store, book):
    decoded = decode(topic, [])
    for table in tables(book)[topic]:
        rows = table.rows(decoded, Source(topic, "topic-id", 0, 0))
        columns = store.query(
            "SELECT name, type, default_kind IN ('', 'EPHEMERAL') AS given FROM system.columns "
            "WHERE database = currentDatabase() AND table = {table:String} "
            "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED')",
            table=table.name,
        )
        given = {name: dtype(kind) for name, kind, is_given in columns.iter_rows() if is_given}
        assert {name: pl.String() if kind == pl.Binary else kind for name, kind in rows.schema.items()} == given


@pytest.mark.parametrize("topic", TOPICS)
def test_what_cannot_be_read_is_set_aside_and_harms_nothing(topic, book):
    good = examples(topic)
    bad = [(100, NOW, b""), (101, NOW, b"\xc3\x01nonsense"), (102, NOW, good[0][2] + b"more")]
    decoded = decode(topic, [*good, *bad])
    deletes = topics.load()[topic].cleanup == "compact"  # there, nothing says that the key is gone
    assert [letter.offset for letter in decoded.dead] == ([101, 102] if deletes else [100, 101, 102])
    for table in tables(book)[topic]:
        whole = table.rows(decode(topic, good), Source(topic, "topic-id", 0, 0))
        assert table.rows(decoded, Source(topic, "topic-id", 0, 0)).equals(whole)


def test_a_tombstone_of_a_compacted_topic_is_no_dead_letter_and_an_empty_message_of_another_is():
    example = codec.encode("alert", topics.examples("llm.alerts")[0])
    found = decode("llm.alerts", [(0, 1, example), (1, 2, b"")])
    assert (found.rows.height, found.dead) == (1, [])
    assert [dead.offset for dead in decode("llm.dead_letters", [(1, 2, b"")]).dead] == [1]
