import json
import random
import resource
from importlib.resources import files
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import layout, shape, splice

AVRO = Path(str(files("spanloom_schemas"))) / "avro"
MESSAGES = [
    (topic.schema, codec.encode(topic.schema, d))
    for topic in topics.load().values()
    for d in topics.examples(topic.name)
]


def versions(schemas: list[codec.Pinned]) -> dict[str, list[codec.Pinned]]:
    return {name: list(group) for name, group in groupby(schemas, key=lambda schema: schema.name)}


def assert_evolvable(schemas: list[codec.Pinned]) -> None:
    """Versions are contiguous, and each reads the data of every older one."""
    for name, group in versions(schemas).items():
        assert [schema.version for schema in group] == list(range(1, len(group) + 1)), name
        assert len({schema.fingerprint for schema in group}) == len(group), f"{name}: two versions with one fingerprint"
        for old in group:
            for new in group[old.version :]:
                topic = next(topic.name for topic in topics.load().values() if topic.schema == name)
                fields = {field["name"] for field in old.source["fields"]}
                for datum in topics.examples(topic):
                    out = BytesIO()
                    kept = {key: value for key, value in datum.items() if key in fields}
                    fastavro.schemaless_writer(out, old.parsed, kept)
                    out.seek(0)
                    assert codec.read(out, old.parsed, new.parsed, name).keys() == {
                        f["name"] for f in new.source["fields"]
                    }


def with_fields(source: dict[str, Any], record: str, *fields: dict[str, Any]) -> dict[str, Any]:
    """The schema with fields added in front of the last of a record."""

    def widened(avro: Any) -> Any:
        if isinstance(avro, list):
            return [widened(part) for part in avro]
        if not isinstance(avro, dict):
            return avro
        found = {key: widened(value) for key, value in avro.items()}
        if found.get("type") == "record" and found["name"] == record:
            found["fields"] = [*found["fields"][:-1], *fields, found["fields"][-1]]
        return found

    widened_source: dict[str, Any] = widened(source)
    return widened_source


def saved(folder: Path, source: dict[str, Any]) -> list[codec.Pinned]:
    """The pinned schemas with a next version of span_batch, read from a folder."""
    for schema in codec.schemas():
        (folder / schema.name).mkdir(exist_ok=True)
        (folder / schema.name / f"{schema.version}.avsc").write_text(json.dumps(schema.source))
    (folder / "span_batch" / f"{codec.newest('span_batch').version + 1}.avsc").write_text(json.dumps(source))
    return codec.load(folder)


def test_every_schema_version_reads_the_data_of_all_older_ones() -> None:
    assert_evolvable(list(codec.schemas()))


def test_the_evolution_rule_accepts_a_field_with_a_default_and_refuses_one_without(tmp_path: Path) -> None:
    source = codec.newest("span_batch").source
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    added = {"name": "region", "type": "string", "default": "none"}
    assert_evolvable(saved(tmp_path / "good", with_fields(source, "SpanBatch", added)))
    with pytest.raises(codec.CodecError, match="region"):
        assert_evolvable(
            saved(tmp_path / "bad", with_fields(source, "SpanBatch", {"name": "region", "type": "string"}))
        )


def test_messages_of_an_older_version_are_read_in_the_shape_of_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By codec and splice alike, mixed with new ones; fields added to header, item, nested record and list."""
    source = codec.newest("span_batch").source
    for record, field in {
        "SpanBatch": {"name": "region", "type": "string", "default": "none"},
        "Span": {"name": "weight", "type": ["null", "long"], "default": None},
        "Llm": {"name": "effort", "type": "string", "default": "usual"},
        "Document": {"name": "rank", "type": "long", "default": -1},
    }.items():
        source = with_fields(source, record, field)
    old = [codec.encode("span_batch", datum) for datum in topics.examples("llm.spans")]
    version = codec.newest("span_batch").version
    schemas = tuple(saved(tmp_path, source))
    monkeypatch.setattr(codec, "schemas", lambda: schemas)
    monkeypatch.setattr(codec, "newest", lambda name: [s for s in schemas if s.name == name][-1])
    monkeypatch.setattr(codec, "_by_fingerprint", lambda: {s.fingerprint: s for s in schemas})

    expected = [codec.decode(value)[2] for value in old]
    new = [codec.encode("span_batch", datum | {"region": "eu"}) for datum in expected]
    decoded = splice.decode("span_batch", [(n, 0, value) for n, value in enumerate([*old, *new])])

    assert {codec.decode(value)[1] for value in old} == {version}
    assert decoded.dead == []
    assert decoded.headers["region"].to_list() == ["none"] * len(old) + ["eu"] * len(new)
    rows = decoded.rows.drop("offset", "log_time", "position").to_dicts()
    assert rows == 2 * [span for datum in expected for span in datum["spans"]]
    assert {document["rank"] for row in rows if row["retrieval"] for document in row["retrieval"]["documents"]} == {-1}
    assert {row["llm"]["effort"] for row in rows if row["llm"]} == {"usual"}


def test_the_fingerprint_is_the_specifications() -> None:
    """CRC-64-AVRO of "null" and of "int", from the Avro specification's test data, as little-endian bytes."""
    assert fastavro.schema.fingerprint('"int"', "CRC-64-AVRO") == (0x7275D51A3F395C8F).to_bytes(8, "little").hex()
    schema = codec.newest("alert")
    assert schema.fingerprint.hex() == fastavro.schema.fingerprint(schema.canonical, "CRC-64-AVRO")


def reason(data: bytes) -> str | None:
    """Why the codec refuses the bytes; None: it does not."""
    try:
        codec.decode(data)
    except codec.CodecError as error:
        return error.reason
    return None


def test_a_message_cut_anywhere_is_truncated_or_unframed_and_one_too_long_is_trailing() -> None:
    for _, value in MESSAGES:
        for end in range(0, len(value), max(1, len(value) // 400)):
            assert reason(value[:end]) == ("not_framed" if end < 2 else "truncated")
        assert reason(value) is None
        assert reason(value + b"\0") == "trailing_bytes"


@given(st.binary(max_size=200), st.sampled_from(codec.schemas()))
def test_random_bytes_are_a_datum_or_a_codec_error(body: bytes, schema: codec.Pinned) -> None:
    reasons = {None, "not_framed", "unknown_schema", "truncated", "trailing_bytes", "malformed"}
    assert {reason(front + body) for front in (b"", codec.MARKER, codec.MARKER + schema.fingerprint)} <= reasons


@pytest.mark.parametrize("number", [-1, 2**31, 2**62, -(2**63)])
def test_an_absurd_length_or_count_anywhere_costs_no_memory(number: int) -> None:
    chance = random.Random(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, value in MESSAGES:
        for at in chance.choices(range(10, len(value)), k=4):
            bad = value[:at] + layout.varint(number) + value[at:]
            if reason(bad) and name in ("span_batch", "pane_batch", "trace_batch"):
                splice.decode(name, [(0, 0, bad)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_no_item_of_any_array_is_of_no_width() -> None:
    """Millions of items in a few bytes: no schema of ours has such an array."""

    def widths(avro: Any) -> list[int]:
        if isinstance(avro, list):
            return [width for branch in avro for width in widths(branch)]
        if not isinstance(avro, dict):
            return []
        below = [avro["items"]] if "items" in avro else [field["type"] for field in avro.get("fields", [])]
        own = [shape.least_bytes(avro["items"])] if "items" in avro else []
        return own + [width for part in below for width in widths(part)]

    assert min(width for schema in codec.schemas() for width in widths(schema.source)) >= 1


def test_a_message_too_large_is_refused_unread() -> None:
    frame = codec.prefix("span_batch")
    assert reason(frame + bytes(codec.MAX_BYTES)) == "too_large"
    dead = topics.examples("llm.dead_letters")[0] | {"value": frame + bytes(codec.MAX_BYTES - len(frame))}
    assert codec.decode(codec.encode("dead_letter", dead))[2] == dead


def test_a_schema_nobody_pinned_is_unknown() -> None:
    assert reason(codec.MARKER + bytes(8) + b"\0") == "unknown_schema"


@pytest.mark.parametrize(
    "change", [{"rule": 7}, {"rule": None}, {"colour": "red"}, {"state": "sleeping"}, {"fired": 2**63}]
)
def test_a_datum_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(codec.CodecError) as raised:
        codec.encode("alert", topics.examples("llm.alerts")[0] | change)
    assert raised.value.reason == "malformed"
    assert "\n" not in str(raised.value)
