import random
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import DERIVED, derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.prices.book import Book
from spanloom_schemas.tokens import Tokens, disjoint

NS = 10**9
END = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * NS
LLM: dict[str, Any] = {"provider": "openai", "request_model": "gpt-4o", "input_tokens": 1000, "output_tokens": 200}

EMBEDDING = {"provider": "openai", "request_model": "text-embedding-3-small", "input_tokens": 50}


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.load()


def frame(*spans: dict[str, Any]) -> pl.DataFrame:
    """A span frame by way of the codec, of spans with only what is said of each."""
    least: dict[str, Any] = {"trace_id": "a", "name": "n", "start": END - 2 * NS, "end": END}
    header = topics.examples("llm.spans")[0]
    least |= {"otel_kind": "internal", "status": "ok", "kind": "llm"}
    full = [{**least, "span_id": f"{n}", **span} for n, span in enumerate(spans)]
    return flatten(splice.decode("span_batch", [(0, 0, codec.encode("span_batch", header | {"spans": full}))]))


def derived(book: Book, **span: Any) -> dict[str, Any]:
    return derive(frame(span), book).to_dicts()[0]


def test_a_span_frame_is_flat_and_absent_facts_have_their_defaults() -> None:
    spans = frame({"kind": "tool"}, {"llm": LLM}, {"retrieval": {"k": 3, "documents": [{"id": "d"}]}})
    assert spans["input_tokens"].to_list() == [None, 1000, None]
    assert spans["usage"].to_list() == ["unknown"] * 3
    assert spans["cached"].to_list() == [False] * 3
    assert spans["documents"].list.len().to_list() == [0, 0, 1]
    assert {spans.schema[column] for column in ("kind", "otel_kind", "status")} == {pl.String()}
    assert all(not isinstance(kind, pl.Struct) for kind in spans.schema.values())


def test_texts_are_cut_where_the_producer_cuts_them_and_what_people_wrote_is_whole(book: Book) -> None:
    long = "é" * 300
    said = {
        "name": long, "trace_id": long, "context": {"tenant": long}, "llm": {**LLM, "request_model": long},
        "scores": [{"name": long, "value": 0.5}, {"name": "short", "value": 1.0}],
        "attributes": [{"key": "k", "value": long}], "payload": {"input": long},
    }  # fmt: skip
    found = derived(book, **said)
    assert {found[name] for name in ("name", "trace_id", "tenant", "request_model", "model")} == {long[:256]}
    assert found["scores"] == [{"name": long[:256], "value": 0.5}, {"name": "short", "value": 1.0}]
    assert found["attributes"] == [{"key": "k", "value": long}]
    assert found["input"] == long
    header = topics.examples("llm.spans")[0] | {"service": long}
    (batch,) = [b for b in topics.examples("llm.spans") if b["spans"]][:1]
    value = codec.encode("span_batch", header | {"spans": batch["spans"]})
    assert set(flatten(splice.decode("span_batch", [(0, 0, value)]))["service"]) == {long[:256]}


def test_each_span_has_its_own_messages_header() -> None:
    data = topics.examples("llm.spans")
    spans = flatten(splice.decode("span_batch", [(n, 0, codec.encode("span_batch", d)) for n, d in enumerate(data)]))
    expected = [(n, datum["service"], datum["epoch"]) for n, datum in enumerate(data) for _ in datum["spans"]]
    assert spans.select("offset", "service", "epoch").rows() == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"start": 5, "end": 9}, {"duration": 4}),
        ({"start": 9, "end": 5}, {"duration": 0}),
        ({"start": -(2**63), "end": 2**63 - 1}, {"duration": 10**15}),
        ({"start": 2**63 - 1, "end": -(2**63)}, {"duration": 0}),
        ({"start": 0, "end": END}, {"duration": 10**15}),
        (
            {"llm": {**LLM, "input_tokens": -1, "output_tokens": 10**9 + 1}},
            {"input_tokens": None, "output_tokens": None},
        ),
        ({"llm": {**LLM, "input_tokens": 0, "output_tokens": 10**9}}, {"input_tokens": 0, "output_tokens": 10**9}),
        ({"prompt": {"system_tokens": 2**63 - 1}}, {"system_tokens": None}),
        ({"llm": {**LLM, "time_to_first_token": -1}}, {"ttft": None, "tpot": None}),
        ({"llm": {**LLM, "time_to_first_token": 2**63 - 1}}, {"ttft": None, "tpot": None}),
        ({"llm": {**LLM, "response_model": "gpt-4o-2024-08-06"}}, {"model": "gpt-4o-2024-08-06"}),
        ({"llm": LLM}, {"model": "gpt-4o"}),
        ({}, {"model": None}),
        ({"parent_id": None}, {"request": True}),
        ({"parent_id": "p"}, {"request": False}),
        ({"parent_id": "p", "parent_remote": True}, {"request": True}),
        ({"kind": "feedback"}, {"request": False}),
        ({"status": "error"}, {"error": True}),
        ({"block_reason": "pii"}, {"blocked": True, "error": False}),
        ({"llm": {**LLM, "time_to_first_token": NS // 2}}, {"tpot": 3 * NS // 2 // 199}),
        (
            {"llm": {**LLM, "output_tokens": 100, "reasoning_tokens": 100, "time_to_first_token": 0}},
            {"tpot": 2 * NS // 199},
        ),
        ({"llm": {**LLM, "time_to_first_token": 3 * NS}}, {"tpot": 0}),
        ({"llm": {**LLM, "output_tokens": 1, "time_to_first_token": 0}}, {"tpot": None}),
        ({"llm": LLM}, {"tpot": None}),
        ({"kind": "tool", "llm": {**LLM, "time_to_first_token": 0}}, {"tpot": None}),
    ],
)
def test_what_follows_from_one_span(book: Book, span: dict[str, Any], expected: dict[str, Any]) -> None:
    found = derived(book, **span)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("span", "status", "cost"),
    [
        ({"llm": LLM}, "priced", 4_500_000),
        ({"kind": "tool", "llm": LLM}, "priced", 4_500_000),
        ({"llm": {**LLM, "cached": True}}, "free", 0),
        ({"llm": {**LLM, "request_model": "made-up"}}, "unpriced", None),
        ({"llm": {**LLM, "request_model": "gpt-4o", "response_model": "gpt-4o-of-tomorrow"}}, "priced", 4_500_000),
        ({"llm": {**LLM, "service_tier": "batch"}}, "priced", 2_250_000),
        ({"kind": "tool"}, "none", 0),
        ({"kind": "request"}, "none", 0),
        ({"llm": {"provider": "openai", "request_model": "gpt-4o"}}, "unpriced", None),
        ({}, "unpriced", None),
        ({"llm": {**LLM, "output_tokens": None}}, "unpriced", None),
        ({"llm": {**LLM, "input_tokens": None}}, "unpriced", None),
        ({"llm": {**LLM, "usage": "estimated", "output_tokens": 12, "finish_reasons": ["error"]}}, "priced", 2_620_000),
        ({"status": "error", "llm": {"provider": "openai", "request_model": "gpt-4o"}}, "none", 0),
        ({"status": "error", "llm": {"request_model": "gpt-4o", "time_to_first_token": 5}}, "unpriced", None),
        ({"status": "error", "llm": {**LLM, "output_tokens": None}}, "priced", 2_500_000),
        ({"kind": "embedding", "llm": EMBEDDING}, "priced", 1_000),
        ({"llm": {**LLM, "input_tokens": 0, "output_tokens": 0}}, "priced", 0),
        ({"llm": {**LLM, "request_model": "made-up", "input_tokens": 0, "output_tokens": 0}}, "none", 0),
        ({"llm": {**LLM, "input_tokens": -7}}, "priced", 2_000_000),
        ({"llm": {**LLM, "input_tokens": 2**63 - 1}}, "unpriced", None),
    ],
)  # fmt: skip
def test_an_unknown_cost_is_null_and_never_0(book: Book, span: dict[str, Any], status: str, cost: int | None) -> None:
    found = derived(book, **span)
    assert (found["cost_status"], found["cost"], found["price_version"]) == (status, cost, book.version)


def test_the_price_is_that_of_the_spans_end(book: Book) -> None:
    before, after = (int(datetime(2026, 10, day, tzinfo=UTC).timestamp()) * NS for day in (14, 14))
    spans = [
        {"start": 0, "end": end, "llm": {**LLM, "request_model": "gpt-5", "service_tier": "batch"}}
        for end in (before - 1, after)
    ]
    assert derive(frame(*spans), book)["cost"].to_list() == [1250_000 + 2_000_000, (1250_000 + 2_000_000) // 2]


def test_every_cost_is_that_of_the_rate_by_itself(book: Book) -> None:
    """Many spans of many models, tiers, times and sizes: joined as a frame, they cost what each costs alone."""
    chance = random.Random(3)
    models = [
        "gpt-4o",
        "gpt-5",
        "o3",
        "claude-sonnet-4-5",
        "gemini-2.5-pro",
        "deepseek-chat",
        "sonar-deep-research",
        "made-up",
    ]
    spans = []
    for _ in range(2000):
        llm = {"request_model": chance.choice(models), "service_tier": chance.choice([None, "batch", "flex"])}
        llm |= {f"{b}_tokens": chance.choice([0, 7, 150_000, 300_000]) for b in Tokens._fields}
        spans.append({"end": END - chance.randrange(10**8) * NS, "llm": llm})
    found = derive(frame(*spans), book)
    buckets = [f"{bucket}_tokens" for bucket in Tokens._fields]
    statuses = set()
    for row in found.select("request_model", "service_tier", "end", "cost", "cost_status", *buckets).iter_rows():
        model, tier, end, cost, status, *tokens = row
        rate = book.rate(None, model, tier, end // NS)
        statuses.add(status)
        if sum(tokens) or rate:
            assert cost == (rate.cost(*tokens) if rate else None)
    assert statuses >= {"priced", "unpriced"}


def test_only_the_columns_asked_for_are_kept(book: Book) -> None:
    spans = frame({"llm": LLM})
    assert derive(spans, book, ["span_id", "duration", "cost"]).columns == ["span_id", "duration", "cost"]
    assert derive(spans, book).columns == [*spans.columns, *DERIVED]
    assert derive(spans, book, ["duration"]).columns == ["duration"]


def test_spans_none_of_whose_models_has_a_price_are_unpriced(book: Book) -> None:
    spans = frame({"llm": {**LLM, "request_model": "x"}}, {"llm": {**LLM, "request_model": None}})
    assert derive(spans, book)["cost_status"].to_list() == ["unpriced", "unpriced"]


def test_no_spans_derive_to_no_rows_of_the_same_columns(book: Book) -> None:
    spans = frame({"llm": LLM})
    assert derive(spans.clear(), book).schema == derive(spans, book).schema


def test_a_cost_does_not_depend_on_whether_input_was_told_with_its_cached_part(book: Book) -> None:
    """OpenAI counts cache reads within the input, Anthropic beside it: 1000 tokens read, 500 not."""
    openai = disjoint("openai", input=1500, cache_read=1000, output=10)
    anthropic = disjoint("anthropic", input=500, cache_read=1000, output=10)
    assert openai == anthropic == Tokens(500, 1000, None, 10, None)


def test_reasoning_is_taken_out_of_the_output_where_a_provider_counts_it_within() -> None:
    assert disjoint("openai", input=5, output=100, reasoning=60) == Tokens(5, None, None, 40, 60)
    assert disjoint("gcp.gemini", input=5, output=40, reasoning=60) == Tokens(5, None, None, 40, 60)
    assert disjoint(None, input=5, cache_read=9, output=1, reasoning=2) == Tokens(0, 9, None, 0, 2)
    assert disjoint("anthropic") == Tokens(None, None, None, None, None)
