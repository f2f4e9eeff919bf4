import random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spanloom_schemas import codec, topics
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.traces import MAX_STEPS, columns, summarise
from spanloom_schemas.prices.book import Book

BOOK = Book.load()
HEADER = topics.examples("llm.spans")[0]
Span = dict[str, Any]


def span(span_id: str, parent: str | None, start: int, end: int, **more: Any) -> Span:
    base = {"trace_id": "t", "name": span_id, "kind": "other", "otel_kind": "internal", "status": "ok"}
    return base | {"span_id": span_id, "parent_id": parent, "start": start, "end": end} | more


def frame(*batches: list[Span]) -> pl.DataFrame:
    """A derived span frame of batches, one an offset."""
    values = [codec.encode("span_batch", HEADER | {"spans": batch}) for batch in batches]
    return derive(flatten(splice.decode("span_batch", [(n, 0, value) for n, value in enumerate(values)])), BOOK)


def summary(*spans: Span) -> dict[str, Any]:
    return summarise(frame(list(spans))).to_dicts()[0]


def path(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(step["span_id"], step["self"]) for step in found["critical_path"]]


def test_the_critical_path_walks_back_through_the_child_that_finished_last() -> None:
    """Span a calls b and c at once, waits for both, then calls d; b is the longer of the two.

    a 0 ─────────────────────────────── 100
      b  10 ─────────── 60
      c  10 ───── 40      d 70 ── 90
    """
    found = summary(span("a", None, 0, 100), span("b", "a", 10, 60), span("c", "a", 10, 40), span("d", "a", 70, 90))
    assert path(found) == [("a", 30), ("b", 50), ("d", 20)]


def test_a_child_is_cut_to_the_window_of_its_parent() -> None:
    found = summary(span("a", None, 10, 100), span("b", "a", 0, 50), span("c", "a", 60, 200), span("d", "c", 90, 300))
    assert path(found) == [("a", 10), ("b", 40), ("c", 30), ("d", 10)]


def test_among_children_that_end_together_the_later_begun_counts() -> None:
    found = summary(span("a", None, 0, 100), span("b", "a", 0, 100), span("c", "a", 40, 100))
    assert path(found) == [("a", 40), ("c", 60)]


def test_self_time_is_what_no_direct_child_covers() -> None:
    spans = [span("a", None, 0, 100, kind="request"), span("b", "a", 10, 40, kind="llm"),
             span("c", "a", 30, 60, kind="llm"), span("d", "b", 0, 30, kind="tool"),
             span("e", "a", 90, 120, kind="tool")]  # fmt: skip
    assert summary(*spans)["stages"] == [
        {"kind": "llm", "spans": 2, "duration": 60, "self": 10 + 30},
        {"kind": "request", "spans": 1, "duration": 100, "self": 100 - 50 - 10},
        {"kind": "tool", "spans": 2, "duration": 60, "self": 60},
    ]


def test_what_a_summary_says_of_a_request() -> None:
    rag = topics.examples("llm.spans")[-1]["spans"]
    found = summary(*rag)
    assert list(found) == list(columns())
    assert {k: found[k] for k in ("service", "name", "status", "state", "reason", "spans", "errors", "blocks")} == {
        "service": HEADER["service"], "name": "POST /chat", "status": "ok", "state": "complete", "reason": None,
        "spans": 7, "errors": 0, "blocks": 0,
    }  # fmt: skip
    assert (found["request_id"], found["tenant"], found["user"]) == (
        "req-01JD2Y3S8V",
        "acme",
        rag[0]["context"]["user"],
    )
    assert (found["prompt_id"], found["prompt_version"], found["models"]) == ("answer", "7", ["gpt-4o-mini-2024-07-18"])
    assert (found["input_tokens"], found["cache_read_tokens"], found["output_tokens"]) == (898, 1024, 211)
    assert (found["documents"], found["cited"]) == (3, 1)
    assert found["duration"] == rag[0]["end"] - rag[0]["start"] == sum(own for _, own in path(found))
    assert found["ttft"] == rag[5]["start"] + rag[5]["llm"]["time_to_first_token"] - rag[0]["start"]
    assert found["cost"] == 898 * 150 + 1024 * 75 + 211 * 600
    assert found["scores"] == [{"name": "hit_at_k", "value": 1.0}, {"name": "toxicity", "value": 0.02}]


@pytest.mark.parametrize(
    ("spans", "state", "reason"),
    [
        ([span("a", None, 0, 9), span("b", "a", 1, 2)], "complete", None),
        ([span("b", "a", 1, 2)], "partial", "no_root"),
        ([span("a", None, 0, 9), span("c", "lost", 1, 2)], "partial", "orphans"),
        ([span("a", "a", 0, 9)], "partial", "no_root"),
        ([span("a", "b", 0, 9), span("b", "a", 1, 2)], "partial", "no_root"),
        ([span("a", None, 0, 9, kind="feedback"), span("b", "x", 1, 2)], "partial", "no_root"),
        ([span("a", None, 5, 9), span("b", None, 1, 2)], "complete", None),
    ],
)
def test_a_trace_without_a_root_or_with_orphans_is_partial(spans: list[Span], state: str, reason: str | None) -> None:
    found = summary(*spans)
    assert (found["state"], found["reason"]) == (state, reason)
    assert found["critical_path"]


def test_feedback_days_later_lengthens_no_trace_and_the_latest_score_counts() -> None:
    thumbs = [
        span(f"f{n}", None, n, n, kind="feedback", scores=[{"name": "thumbs", "value": v}])
        for n, v in ((500, 1.0), (900, -1.0))
    ]
    found = summary(*thumbs, span("a", None, 10, 20, kind="request"))
    assert (found["start"], found["end"], found["duration"], found["name"]) == (10, 20, 10, "a")
    assert found["scores"] == [{"name": "thumbs", "value": -1.0}]


def test_a_span_id_counts_once_and_the_earliest_offset_wins() -> None:
    found = summarise(
        frame([span("a", None, 0, 9)], [span("b", "a", 1, 2, name="first")], [span("b", "a", 3, 4, name="again")])
    )
    assert found["spans"].to_list() == [2]
    assert [s["name"] for s in found["critical_path"][0]] == ["a", "first"]
    assert found["first_offset"].to_list() == [0]


def test_unpriced_spans_are_counted_beside_the_known_cost() -> None:
    known = {
        "provider": "openai",
        "request_model": "gpt-4o",
        "input_tokens": 10,
        "output_tokens": 0,
        "usage": "estimated",
    }
    found = summary(span("a", None, 0, 9, kind="llm", llm=known), span("b", "a", 0, 9, kind="llm"))
    assert (found["cost"], found["unpriced"], found["estimated"]) == (25_000, 1, 1)


def test_other_keys_tell_traces_apart_and_are_kept() -> None:
    spans = frame([span("a", None, 0, 9)], [span("b", "a", 1, 2)]).with_columns(segment=pl.col("offset") * 10)
    found = summarise(spans, ["trace_id", "segment"])
    assert found.columns == ["segment", *columns()]
    assert found.select("segment", "spans", "state").rows() == [(0, 1, "complete"), (10, 1, "partial")]


def test_a_summary_is_what_the_topic_carries() -> None:
    found = summarise(frame([span("a", None, 0, 9)], [span("b", "a", 1, 2)]))
    header = {k: v for k, v in topics.examples("llm.traces")[0].items() if k != "traces"}
    value = splice.encode("trace_batch", header, found)
    assert codec.decode(value)[2]["traces"] == found.to_dicts()
    assert summarise(frame()).schema == found.schema


def test_a_path_of_very_many_steps_keeps_the_longest() -> None:
    many = [span(f"{n:04}", "root", n * 10, n * 10 + 1 + n % 7) for n in range(1000)]
    found = summary(span("root", None, 0, 10_000), *many)
    assert len(found["critical_path"]) == MAX_STEPS
    assert path(found)[0][0] == "root"
    assert {own for _, own in path(found)[1:]} == {7}


def test_a_deep_and_a_wide_trace_are_summarised_whole() -> None:
    """Nothing here grows with depth or number of siblings but the number of rounds, by one a doubling."""
    deep = [span(f"{n:05}", f"{n - 1:05}" if n else None, n, 20_000 - n) for n in range(5000)]
    wide = [span("w", None, 0, 10**6), *(span(f"w{n}", "w", n * 100, n * 100 + 90) for n in range(5000))]
    wide = [s | {"trace_id": "wide"} for s in wide]
    found = summarise(frame(deep[:2500], deep[2500:], wide))
    assert found["spans"].to_list() == [5000, 5001]
    first, second = found["stages"].to_list()
    assert first[0]["self"] == 20_000
    assert second[0]["self"] == 10**6


def by_hand(spans: list[Span]) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Self time of every span and the critical path, the plain recursive way."""
    spans = sorted(spans, key=lambda s: (s["start"], s["span_id"]))
    known = {s["span_id"]: s for s in spans}
    parent = {
        s["span_id"]: s["parent_id"] if s["parent_id"] in known and s["parent_id"] != s["span_id"] else None
        for s in spans
    }
    rank = {s["span_id"]: 0 if s["parent_id"] is None else 1 if parent[s["span_id"]] is None else 2 for s in spans}
    top = min(spans, key=lambda s: rank[s["span_id"]])
    parent[top["span_id"]] = None
    children = {i: [s for s in spans if parent[s["span_id"]] == i] for i in known}

    own = {}
    for s in spans:
        covered: set[int] = set()
        for child in children[s["span_id"]]:
            covered |= set(range(max(child["start"], s["start"]), min(child["end"], s["end"])))
        own[s["span_id"]] = max(s["end"] - s["start"], 0) - len(covered)

    steps: list[tuple[int, int, int, str, int]] = []

    def walk(s: Span, start: int, end: int, depth: int) -> None:
        within, at = 0, end
        cut = [
            (max(c["start"], start), min(c["end"], end), n, c)
            for n, c in enumerate(spans)
            if parent[c["span_id"]] == s["span_id"]
        ]
        while ready := [c for c in cut if c[1] <= at and c[1] > c[0]]:
            begin, finish, _, child = max(ready, key=lambda c: (c[1], c[2]))
            walk(child, begin, finish, depth + 1)
            within += finish - begin
            at = begin
        steps.append((start, depth, spans.index(s), s["span_id"], end - start - within))

    walk(top, top["start"], max(top["end"], top["start"]), 0)
    return own, [(span_id, self) for _, _, _, span_id, self in sorted(steps)]


@st.composite
def any_spans(draw: st.DrawFn) -> list[Span]:
    """Spans of one trace: any parents (rings, orphans, self-parents, several roots) and any, also backward, times."""
    count = draw(st.integers(1, 9))
    ids = [f"s{n}" for n in range(count)]
    parents = st.one_of(st.none(), st.sampled_from([*ids, "lost"]))
    times = st.tuples(st.integers(0, 12), st.integers(0, 12))
    usually = st.sampled_from(ids)
    spans = []
    for span_id in ids:
        start, end = draw(times)
        start, end = (start, end) if draw(st.integers(0, 9)) == 0 else (min(start, end), max(start, end))
        spans.append(span(span_id, draw(st.one_of(parents, usually)), start, end))
    return spans


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.lists(any_spans(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_many_traces_at_once_are_each_what_walking_it_by_hand_gives(
    traces: list[list[Span]], chance: random.Random
) -> None:
    spans = [
        s | {"trace_id": f"t{n}", "kind": "tool" if n % 2 else "other"} for n, trace in enumerate(traces) for s in trace
    ]
    chance.shuffle(spans)
    cut = chance.randint(0, len(spans))
    found = summarise(frame(spans[:cut], spans[cut:]))
    assert found.height == len(traces)
    for row in found.to_dicts():
        own, steps = by_hand(traces[int(row["trace_id"][1:])])
        assert path(row) == steps
        assert sum(stage["self"] for stage in row["stages"]) == sum(own.values())


def test_the_order_of_rows_changes_nothing() -> None:
    spans = frame(*([s] for datum in topics.examples("llm.spans") for s in datum["spans"]))
    expected = summarise(spans).sort("trace_id")
    for seed in range(5):
        assert summarise(spans.sample(fraction=1, shuffle=True, seed=seed)).sort("trace_id").equals(expected)
