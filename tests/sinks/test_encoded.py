"""Dictionary-encoded columns arrive as the text they stand for."""

import polars as pl
import pytest
from spanloom_sinks.rows.columns import encoded

# Around the numbers of values at which a dictionary's keys grow by a byte, and more than are meant.
COUNTS = (1, 2, 255, 256, 257, 65_535, 65_536, 65_537)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("first", ["", "a"])
def test_a_dictionary_of_any_size_is_stored_as_its_text(count, first, store):
    texts = pl.DataFrame({"n": range(2 * count), "text": [first, *(f"v{n}" for n in range(1, count))] * 2})
    store.command(
        "CREATE OR REPLACE TABLE encoded (n Int64, text LowCardinality(String)) ENGINE = MergeTree ORDER BY n"
    )
    store.insert("encoded", encoded(texts, "text"))
    assert store.query("SELECT n, toString(text) AS text FROM encoded ORDER BY n").equals(texts)
    store.command("DROP TABLE encoded")


def test_a_block_without_rows_can_be_encoded():
    assert encoded(pl.DataFrame(schema={"text": pl.String}), "text").height == 0
