import re
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.traces import summarise
from spanloom_schemas.prices.book import Book

FOLDER = Path(str(files("spanloom_schemas")))
DAY_MS = 86_400_000


def test_the_topics_are_those_of_the_design() -> None:
    found = {t.name: (t.schema, t.partitions, t.retention_ms, t.cleanup) for t in topics.load().values()}
    assert found == {
        "llm.alerts": ("alert", 1, -1, "compact"),
        "llm.dead_letters": ("dead_letter", 1, 14 * DAY_MS, "delete"),
        "llm.hours": ("hour", 1, -1, "compact"),
        "llm.panes": ("pane_batch", 1, 7 * DAY_MS, "delete"),
        "llm.samples": ("sample_batch", 1, 3 * DAY_MS, "delete"),
        "llm.spans": ("span_batch", 4, 3 * DAY_MS, "delete"),
        "llm.traces": ("trace_batch", 4, 7 * DAY_MS, "delete"),
    }


def test_log_time_is_the_brokers_everywhere() -> None:
    assert {topic.timestamp_type for topic in topics.load().values()} == {"LogAppendTime"}


def test_a_topic_is_in_the_file_of_its_name_and_has_a_legal_one() -> None:
    assert {file.stem for file in (FOLDER / "topics").iterdir()} == topics.load().keys()
    assert all(re.fullmatch(r"[a-z._]{1,249}", name) for name in topics.load())


def test_no_schema_and_no_example_is_an_orphan() -> None:
    assert {topic.schema for topic in topics.load().values()} == {schema.name for schema in codec.schemas()}
    assert {folder.name for folder in (FOLDER / "examples").iterdir()} == topics.load().keys()


def test_traces_have_as_many_partitions_as_the_spans_they_come_from() -> None:
    assert topics.load()["llm.traces"].partitions == topics.load()["llm.spans"].partitions


def test_a_message_that_the_codec_accepts_is_one_that_its_topic_accepts() -> None:
    for topic in topics.load().values():
        assert topic.max_message_bytes <= (2 if topic.schema == "dead_letter" else 1) * codec.MAX_BYTES


def test_an_unknown_key_in_a_topics_file_is_refused() -> None:
    text = (FOLDER / "topics" / "llm.spans.yaml").read_text() + "retention: 1\n"
    with pytest.raises(msgspec.ValidationError, match="unknown field `retention`"):
        msgspec.yaml.decode(text, type=topics.Topic)


@pytest.mark.parametrize("topic", topics.load().values(), ids=lambda topic: topic.name)
def test_every_example_survives_the_codec(topic: topics.Topic) -> None:
    data = topics.examples(topic.name)
    assert len(data) >= 2
    for datum in data:
        assert codec.decode(codec.encode(topic.schema, datum)) == (
            topic.schema,
            codec.newest(topic.schema).version,
            datum,
        )


@pytest.mark.parametrize("topic", ["llm.spans", "llm.panes", "llm.traces", "llm.samples"])
def test_every_example_splices_to_what_the_codec_says(topic: str) -> None:
    name, data = topics.load()[topic].schema, topics.examples(topic)
    messages = [(offset, 5, codec.encode(name, datum)) for offset, datum in enumerate(data)]
    decoded = splice.decode(name, messages)
    items = list(data[0])[-1]
    assert decoded.dead == []
    assert decoded.rows.drop("offset", "log_time", "position").to_dicts() == [i for datum in data for i in datum[items]]
    assert decoded.headers.drop("offset", "log_time", "count").to_dicts() == [
        {key: value for key, value in datum.items() if key != items} for datum in data
    ]


def test_every_example_of_spans_is_derived_and_summarised() -> None:
    data = topics.examples("llm.spans")
    decoded = splice.decode("span_batch", [(n, 5, codec.encode("span_batch", datum)) for n, datum in enumerate(data)])
    spans = derive(flatten(decoded), Book.load())
    traces = summarise(spans)
    assert spans.height == sum(len(datum["spans"]) for datum in data)
    assert traces["spans"].sum() == spans.n_unique(["trace_id", "span_id"])
    assert traces["trace_id"].to_list() == spans["trace_id"].unique(maintain_order=True).to_list()
