"""Messages of other schemas than ours: one that nobody pinned is dead, a pinned older one is read as the newest."""

import copy
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.spans import flatten

Source = dict[str, Any]
OLD = [codec.encode("span_batch", datum) for datum in topics.examples("llm.spans")]


def span_of(source: Source) -> list[Source]:
    fields: list[Source] = source["fields"][-1]["type"]["items"]["fields"]
    return fields


def field(fields: list[Source], name: str) -> Source:
    return next(each for each in fields if each["name"] == name)


def added(source: Source) -> None:
    span_of(source).insert(3, {"name": "weight", "type": ["null", "long"], "default": None})


def removed(source: Source) -> None:
    span_of(source).remove(field(span_of(source), "links"))


def reordered(source: Source) -> None:
    first = span_of(source)[:5]
    span_of(source)[:5] = first[::-1]


def header_reordered(source: Source) -> None:
    source["fields"][:3] = source["fields"][:3][::-1]


def with_symbol(source: Source) -> None:
    field(span_of(source), "kind")["type"]["symbols"].append("dream")


def widened(source: Source) -> None:
    """A long becomes a double, as int becomes long: the only promotion that our types have."""
    field(source["fields"], "sequence")["type"] = "double"


def union_reordered(source: Source) -> None:
    name = field(span_of(source), "parent_id")
    name["type"] = name["type"][::-1]
    name.pop("default", None)


def renamed(source: Source) -> None:
    field(span_of(source), "name").update(name="title", aliases=["name"])


CHANGES: list[Callable[[Source], None]] = [
    *(added, removed, reordered, header_reordered, with_symbol, widened, union_reordered, renamed)
]
PINNABLE = [added, removed, reordered, header_reordered, with_symbol]


def changed(change: Callable[[Source], None]) -> Source:
    source = copy.deepcopy(codec.newest("span_batch").source)
    change(source)
    return source


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("claimed", [False, True], ids=["under its own name", "under ours"])
def test_a_message_of_a_schema_nobody_pinned_is_dead_or_what_its_bytes_say_in_ours(
    change: Callable[[Source], None], claimed: bool
) -> None:
    """Under its own fingerprint it is unknown. One that lies about it is read as ours: as the codec does, or dead."""
    source = changed(change)
    out = BytesIO()
    (*_, datum) = topics.examples("llm.spans")
    datum["spans"] = [{**span, "title": span["name"], "weight": 7} for span in datum["spans"]]
    if change is widened:
        datum["sequence"] = float(datum["sequence"])
    fastavro.schemaless_writer(out, fastavro.parse_schema(source), datum)
    own = bytes.fromhex(fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(source), "CRC-64-AVRO"))
    front = codec.prefix("span_batch") if claimed else codec.MARKER + own
    if own == codec.newest("span_batch").fingerprint:
        pytest.fail("the change changes nothing")
    value = front + out.getvalue()
    decoded = splice.decode("span_batch", [(0, 0, OLD[-1]), (1, 0, value), (2, 0, OLD[-1])])
    assert {0, 2} <= set(decoded.headers["offset"])
    if not claimed:
        assert [(dead.offset, dead.reason) for dead in decoded.dead] == [(1, "unknown_schema")]
    elif decoded.dead:
        assert decoded.dead[0].reason in ("malformed", "truncated", "trailing_bytes")
    else:
        told = [row for row in decoded.rows.to_dicts() if row["offset"] == 1]
        assert [{key: row[key] for key in ("trace_id", "name", "end")} for row in told] == [
            {key: span[key] for key in ("trace_id", "name", "end")} for span in codec.decode(value)[2]["spans"]
        ]


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], None]:
    """Make a source the next version of span_batch."""

    def pinned(source: Source) -> None:
        for schema in codec.schemas():
            (tmp_path / schema.name).mkdir(exist_ok=True)
            (tmp_path / schema.name / f"{schema.version}.avsc").write_text(json.dumps(schema.source))
        (tmp_path / "span_batch" / f"{codec.newest('span_batch').version + 1}.avsc").write_text(json.dumps(source))
        schemas = tuple(codec.load(tmp_path))
        monkeypatch.setattr(codec, "schemas", lambda: schemas)
        monkeypatch.setattr(codec, "newest", lambda name: [s for s in schemas if s.name == name][-1])
        monkeypatch.setattr(codec, "_by_fingerprint", lambda: {s.fingerprint: s for s in schemas})

    return pinned


@pytest.mark.parametrize("change", PINNABLE)
def test_old_and_new_messages_mixed_are_the_same_by_splice_and_by_codec(
    change: Callable[[Source], None], pin: Callable[[Source], None]
) -> None:
    pin(changed(change))
    data = [codec.decode(value)[2] for value in OLD]
    new = [codec.encode("span_batch", datum) for datum in data]
    mixed = [value for pair in zip(OLD, new, strict=True) for value in pair]
    decoded = splice.decode("span_batch", [(n, 0, value) for n, value in enumerate(mixed)])
    assert decoded.dead == []
    rows = decoded.rows.drop("offset", "log_time", "position").to_dicts()
    assert rows == [span for datum in data for _ in range(2) for span in datum["spans"]]
    headers = decoded.headers.drop("offset", "log_time", "count").to_dicts()
    assert headers == [{k: v for k, v in datum.items() if k != "spans"} for datum in data for _ in range(2)]
    if change is not removed:
        assert flatten(decoded).height == len(rows)


def test_a_message_of_the_first_schema_is_one_that_shed_nothing() -> None:
    """Producers of the release before go on beside ours; what they do not say is empty, and nothing else changes."""
    first = next(schema for schema in codec.schemas() if (schema.name, schema.version) == ("span_batch", 1))
    data = [codec.decode(value)[2] for value in OLD]
    written = []
    for datum in data:
        out = BytesIO(codec.MARKER + first.fingerprint)
        out.seek(0, 2)
        fastavro.schemaless_writer(out, first.parsed, {name: said for name, said in datum.items() if name != "shed"})
        written.append(out.getvalue())
    assert [codec.decode(value) for value in written] == [("span_batch", 1, datum | {"shed": []}) for datum in data]
    old, new = (splice.decode("span_batch", [(n, 0, v) for n, v in enumerate(values)]) for values in (written, OLD))
    assert old.dead == []
    assert old.rows.equals(new.rows)
    assert old.headers.drop("shed").equals(new.headers.drop("shed"))
    assert old.headers["shed"].list.len().sum() == 0 < new.headers["shed"].list.len().sum()


def test_no_schema_of_ours_contains_itself() -> None:
    """A recursive one lets a few bytes exhaust the stack (fastavro 1.13.1 dies of it)."""

    def named(avro: Any, within: tuple[str, ...]) -> None:
        if isinstance(avro, str):
            assert avro not in within
        elif isinstance(avro, list):
            for branch in avro:
                named(branch, within)
        else:
            inner = (*within, avro["name"]) if "name" in avro else within
            for part in (*(each["type"] for each in avro.get("fields", [])), avro.get("items", "null")):
                named(part, inner)

    for schema in codec.schemas():
        named(schema.source, ())


def test_every_truncation_of_a_message_is_dead_alone() -> None:
    value = min((v for v in OLD if len(v) > 400), key=len)
    cut = [value[:end] for end in range(len(value))]
    decoded = splice.decode("span_batch", [(n, 0, v) for n, v in enumerate([value, *cut, value])])
    assert len(decoded.dead) == len(cut)
    assert {dead.reason for dead in decoded.dead} == {"not_framed", "truncated"}
    assert decoded.headers["offset"].to_list() == [0, len(cut) + 1]
    assert [dead.value for dead in decoded.dead] == cut
