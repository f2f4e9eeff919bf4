import math
import random
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.exceptions import PanicException
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import layout, splice

BATCHES = ["span_batch", "pane_batch", "trace_batch"]
LENIENT = settings(suppress_health_check=list(HealthCheck))

_LONGS = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1))
_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": _LONGS,
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=20),
    "bytes": st.binary(max_size=20),
}


def any_data(avro: Any, most: int = 3) -> st.SearchStrategy[Any]:
    """Any datum of a type; arrays of at most `most` items."""
    if isinstance(avro, list):
        return st.one_of(any_data(branch, most) for branch in avro)
    if isinstance(avro, str):
        return _PRIMITIVES[avro]
    match avro["type"]:
        case "record":
            return st.fixed_dictionaries({field["name"]: any_data(field["type"], most) for field in avro["fields"]})
        case "array":
            items = (
                avro["items"][1] if isinstance(avro["items"], list) else avro["items"]
            )  # no list of ours holds a null
            return st.lists(any_data(items, most), max_size=most)
        case "enum":
            return st.sampled_from(avro["symbols"])
        case other:
            return _PRIMITIVES[other]


def in_blocks(avro: Any, datum: Any, cut: Callable[[int], list[tuple[int, bool]]]) -> bytes:
    """The datum in Avro; `cut(n)` says into which blocks (items, with size or not) an array of n items goes."""
    if isinstance(avro, list):
        branch = 0 if (datum is None) == (avro[0] == "null") else 1
        return layout.varint(branch) + in_blocks(avro[branch], datum, cut)
    kind = avro if isinstance(avro, str) else avro["type"]
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes([datum])
        case "int" | "long":
            return layout.varint(datum)
        case "double":
            return struct.pack("<d", datum)
        case "string" | "bytes":
            raw = datum.encode() if isinstance(datum, str) else datum
            return layout.varint(len(raw)) + raw
        case "enum":
            return layout.varint(avro["symbols"].index(datum))
        case "record":
            return b"".join(in_blocks(field["type"], datum[field["name"]], cut) for field in avro["fields"])
        case _:
            return _array(avro["items"], datum, cut)


def _array(items: Any, datum: list[Any], cut: Callable[[int], list[tuple[int, bool]]]) -> bytes:
    out, at = b"", 0
    for count, sized in cut(len(datum)):
        body = b"".join(in_blocks(items, item, cut) for item in datum[at : at + count])
        out += (layout.varint(-count) + layout.varint(len(body)) if sized else layout.varint(count)) + body
        at += count
    return out + layout.varint(0)


def spliced(name: str, values: list[bytes]) -> splice.Decoded:
    return splice.decode(name, [(offset, offset * 10, value) for offset, value in enumerate(values)])


def as_data(name: str, decoded: splice.Decoded) -> dict[int, Any]:
    """The data of the readable messages by offset, put together again from rows and headers."""
    items = codec.newest(name).source["fields"][-1]["name"]
    rows: dict[int, list[Any]] = {}
    for row in decoded.rows.drop("log_time").to_dicts():
        offset, position = row.pop("offset"), row.pop("position")
        rows.setdefault(offset, []).append(row)
        assert position == len(rows[offset]) - 1
    data = {}
    for header in decoded.headers.drop("log_time").to_dicts():
        offset, count = header.pop("offset"), header.pop("count")
        data[offset] = header | {items: rows.pop(offset, [])}
        assert count == len(data[offset][items])
    assert rows == {}
    return data


def oracle(name: str, value: bytes) -> dict[str, Any] | str:
    """What fastavro says: the datum, or the reason why there is none."""
    try:
        found, _, datum = codec.decode(value)
    except codec.CodecError as error:
        return error.reason
    return datum if found == name else "unknown_schema"


def fits(name: str, datum: dict[str, Any]) -> bool:
    return bool(fastavro.validate(datum, codec.newest(name).source, raise_errors=False))


def verdicts(name: str, values: list[bytes]) -> dict[int, Any]:
    """Of each message its datum, or the reason why there is none."""
    decoded = spliced(name, values)
    assert decoded.rows["offset"].is_sorted()
    assert decoded.headers["offset"].is_sorted()
    return as_data(name, decoded) | {dead.offset: dead.reason for dead in decoded.dead}


def agree(name: str, values: list[bytes]) -> None:
    assert verdicts(name, values) == {offset: oracle(name, value) for offset, value in enumerate(values)}


@pytest.mark.parametrize("name", BATCHES)
@settings(LENIENT, max_examples=10)
@given(draw=st.data())
def test_any_batches_splice_to_what_fastavro_reads(name: str, draw: st.DataObject) -> None:
    schema = codec.newest(name)
    blocks = draw.draw(st.randoms(use_true_random=False))

    def cut(count: int) -> list[tuple[int, bool]]:
        found = []
        while count:
            size = blocks.randint(1, count)
            found.append((size, blocks.random() < 0.5))
            count -= size
        return found

    data = draw.draw(st.lists(any_data(schema.source, most=2), max_size=3))
    agree(name, [codec.prefix(name) + in_blocks(schema.source, datum, cut) for datum in data])


@pytest.mark.parametrize("name", BATCHES)
@settings(LENIENT, max_examples=10)
@given(chance=st.randoms(use_true_random=False))
def test_broken_messages_die_alone_and_for_the_reason_the_codec_gives(name: str, chance: random.Random) -> None:
    """Three leniencies: polars takes every branch of a union but the first for "not null", where fastavro counts them,
    from the end if need be; a boolean that is neither 0 nor 1 is false for one and true for the other; of an int beyond
    32 bits polars reads the lower ones. So a message that one of them refuses, that nobody writes so, or that does not
    fit its schema, may be read in two ways.

    So that a replay in other company gives the same verdict, it must not depend on the company.
    """
    topic = next(topic.name for topic in topics.load().values() if topic.schema == name)
    whole = [codec.encode(name, datum) for datum in topics.examples(topic)]
    values = [broken(chance, value) if chance.random() < 0.5 else value for value in whole * 3]
    for offset, found in verdicts(name, values).items():
        expected = oracle(name, values[offset])
        if comparable(found) != comparable(expected):
            assert isinstance(found, dict)
            written = codec.encode(name, expected) if isinstance(expected, dict) and fits(name, expected) else None
            assert written != values[offset]
            assert comparable(found) == comparable(verdicts(name, [values[offset]])[0])


def comparable(datum: Any) -> Any:
    """The datum with a word in place of each NaN: a flipped bit makes one easily, and none equals another."""
    match datum:
        case dict():
            return {key: comparable(value) for key, value in datum.items()}
        case list():
            return [comparable(value) for value in datum]
        case float() if math.isnan(datum):
            return "NaN"
    return datum


def broken(chance: random.Random, value: bytes) -> bytes:
    at = chance.randrange(len(value))
    match chance.randrange(6):
        case 0:
            return value[:at]
        case 1:
            return value + chance.randbytes(chance.randint(1, 9))
        case 2:
            return value[:at] + chance.randbytes(1) + value[at + 1 :]
        case 3:
            return value[:at] + layout.varint(chance.choice([2**62, -(2**62), -1, 2**31])) + value[at:]
        case 4:
            return chance.randbytes(at)
        case _:
            return value[:at] + value[at + chance.randint(1, 4) :]


def test_messages_that_lie_about_their_count_do_not_shift_their_neighbours() -> None:
    """One message claims an item less than it holds and the next one more: joined, the sum would be right."""
    (datum,) = topics.examples("llm.spans")[-1:]
    spans = datum["spans"]

    def lying(held: int, claimed: int) -> bytes:
        honest = codec.encode("span_batch", datum | {"spans": spans[:held]})
        head = codec.encode("span_batch", datum | {"spans": []})[:-1]
        assert honest.startswith(head + layout.varint(held))
        return head + layout.varint(claimed) + honest[len(head) + 1 :]

    good = codec.encode("span_batch", datum)
    decoded = spliced("span_batch", [good, lying(3, 2), lying(2, 3), good])
    assert [dead.offset for dead in decoded.dead] == [1, 2]
    assert decoded.rows["offset"].unique().to_list() == [0, 3]


def test_items_in_several_blocks_without_sizes_are_not_lost() -> None:
    """The length of such a block is unknown; in panes even a shifted sentinel may look like nulls."""
    datum = topics.examples("llm.panes")[-1]
    schema = codec.newest("pane_batch").source
    singly = codec.prefix("pane_batch") + in_blocks(schema, datum, lambda count: [(1, False)] * count)
    assert verdicts("pane_batch", [singly, singly]) == {0: datum, 1: datum}


def test_a_message_that_holds_the_sentinels_mark_is_a_message_like_any_other() -> None:
    (datum,) = topics.examples("llm.spans")[-1:]
    datum["spans"] = [span | {"trace_id": layout.MARK} for span in datum["spans"]]
    agree("span_batch", [codec.encode("span_batch", datum)] * 2)


def test_no_messages_make_empty_frames_of_the_right_columns() -> None:
    empty, one = (
        spliced("span_batch", []),
        spliced("span_batch", [codec.encode("span_batch", topics.examples("llm.spans")[-1])]),
    )
    assert empty.rows.schema == one.rows.schema
    assert empty.headers.schema == one.headers.schema


def test_a_message_of_another_schema_is_dead_and_whole() -> None:
    value = codec.encode("alert", topics.examples("llm.alerts")[0])
    (dead,) = spliced("span_batch", [value]).dead
    assert (dead.offset, dead.log_time, dead.reason, dead.value) == (0, 0, "unknown_schema", value)


@pytest.mark.parametrize(("topic", "name"), [("llm.panes", "pane_batch"), ("llm.traces", "trace_batch")])
@settings(LENIENT, max_examples=10)
@given(draw=st.data())
def test_what_is_encoded_from_a_frame_is_what_the_codec_reads(topic: str, name: str, draw: st.DataObject) -> None:
    schema = codec.newest(name).source
    datum = draw.draw(any_data(schema))
    items = schema["fields"][-1]["name"]
    frame = pl.DataFrame(datum[items], schema=splice.item_columns(name), orient="row")
    header = {key: value for key, value in datum.items() if key != items}
    assert codec.decode(splice.encode(name, header, frame))[2] == datum


def test_rows_too_many_for_one_message_go_into_several() -> None:
    datum = topics.examples("llm.traces")[0]
    header = {key: value for key, value in datum.items() if key != "traces"}
    rows = pl.DataFrame(datum["traces"] * 40, schema=splice.item_columns("trace_batch"), orient="row")
    messages = list(splice.encode_within(4000, "trace_batch", header, rows))
    assert len(messages) > 10
    assert max(map(len, messages)) <= 4000
    assert [t for value in messages for t in codec.decode(value)[2]["traces"]] == datum["traces"] * 40


def test_rows_whose_columns_are_cut_into_different_chunks_are_encoded_like_any_other() -> None:
    """So a join may leave them; polars' Avro writer panics at them."""
    datum = topics.examples("llm.traces")[0]
    header = {key: value for key, value in datum.items() if key != "traces"}
    rows = pl.DataFrame(datum["traces"] * 6, schema=splice.item_columns("trace_batch"), orient="row")
    half = pl.concat([rows[:2], rows[2:]], rechunk=False)
    other = pl.concat([rows[:5], rows[5:]], rechunk=False)
    torn = half.with_columns(other["trace_id"], other["stages"])
    assert set(torn.n_chunks("all")) == {2}
    with pytest.raises(PanicException):
        torn.write_avro(BytesIO())
    assert codec.decode(splice.encode("trace_batch", header, torn))[2]["traces"] == datum["traces"] * 6
