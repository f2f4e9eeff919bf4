import json
from collections.abc import Iterator

import pytest
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.registry import HttpRegistry, RegistryError, of
from spanloom_schemas.settings import KafkaSettings, Secret

from tests.registry import Double, running


@pytest.fixture
def double() -> Iterator[Double]:
    with running() as server:
        yield server


def test_messages_travel_in_confluents_wire_format(double: Double) -> None:
    writer, reader = HttpRegistry(double.url), HttpRegistry(double.url)
    for topic in topics.load().values():
        for datum in topics.examples(topic.name):
            value = codec.encode(topic.schema, datum, writer)
            assert value[:1] == b"\0"
            assert codec.decode(value, reader)[2] == datum
    registered = sorted(path for path in double.asked if path.startswith("/subjects/"))
    assert registered == [f"/subjects/{topic}-value/versions" for topic in sorted(topics.load())]
    assert len(double.asked) == 2 * len(registered)  # each id was asked for once


def test_both_framings_may_come_mixed_and_batches_splice(double: Double) -> None:
    registry = HttpRegistry(double.url)
    datum = topics.examples("llm.spans")[-1]
    values = [codec.encode("span_batch", datum, registry), codec.encode("span_batch", datum)]
    decoded = splice.decode("span_batch", [(n, 0, value) for n, value in enumerate(values)], registry)
    assert decoded.dead == []
    assert decoded.rows.filter(offset=0).drop("offset").equals(decoded.rows.filter(offset=1).drop("offset"))


def test_a_registered_schema_may_be_written_differently_but_must_be_ours(double: Double) -> None:
    ours = codec.newest("alert").source
    double.schemas = {
        1: json.dumps({k: v for k, v in ours.items() if k != "doc"}, indent=4),
        2: json.dumps(ours | {"fields": ours["fields"][::-1]}),
        3: '"string"',
        4: "no JSON",
        5: "[" * 5000 + '"null"' + "]" * 5000,
    }
    registry = HttpRegistry(double.url)
    assert [registry.pinned(n) is not None for n in (1, 2, 3, 4, 5, 6)] == [True, False, False, False, False, False]
    with pytest.raises(codec.CodecError) as raised:
        codec.decode(b"\0\0\0\0\2rest", registry)
    assert raised.value.reason == "unknown_schema"


def test_a_registry_that_does_not_answer_kills_no_message(double: Double) -> None:
    registry = HttpRegistry("http://127.0.0.1:9/")
    with pytest.raises(RegistryError, match="does not answer"):
        splice.decode("span_batch", [(0, 0, b"\0\0\0\0\1datum")], registry)


def test_the_settings_name_the_registry_and_its_password(double: Double) -> None:
    assert of(KafkaSettings()) is None
    named = KafkaSettings(
        schema_registry_url=double.url, schema_registry_user="u", schema_registry_password=Secret("p")
    )
    registry = of(named)
    assert registry is not None
    registry.pinned(1)
    assert double.authorization == "Basic dTpw"


def test_without_a_registry_confluents_format_is_not_framed() -> None:
    with pytest.raises(codec.CodecError) as raised:
        codec.decode(b"\0\0\0\0\1datum")
    assert raised.value.reason == "not_framed"
