"""The oracle on logs so small that a person sees what must come out."""

from typing import Any

import pytest
from spanloom_schemas.prices.book import Book

from tests.oracle.cost import cost_of
from tests.oracle.panes import Caps
from tests.oracle.spans import Logged
from tests.oracle.truth import Place, Truth, truth_of

T0 = 1_700_000_000_000
HERE = Place("topic", 0)


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.load()


def told(book: Book, *messages: tuple[int, Any], caps: Caps = Caps()) -> Truth:  # noqa: B008
    log = [Logged(offset, T0 + at, batch) for offset, (at, batch) in enumerate(messages)]
    return truth_of({HERE: log}, book, lambda start: caps)


def test_a_span_sent_twice_is_one_span_one_in_its_pane_and_one_in_its_trace(made: Any, book: Book) -> None:
    span = made.span(end_ms=1_000, duration_ms=250)
    truth = told(book, (1_500, made.batch(span)), (1_600, made.batch(span, span, sequence=2)))
    ((stored,),) = (truth.spans.values(),)
    assert (stored.offset, stored.position, stored.timeliness) == (0, 0, "on_time")
    (pane,) = truth.panes.values()
    assert pane.sums["spans"] == 1
    assert pane.duration == [250_000_000]
    assert truth.traces["t"].sums["spans"] == 1


def test_a_span_is_late_from_three_seconds_after_its_pane_by_the_log_clock(made: Any, book: Book) -> None:
    early, late = made.span("t", "a", 9_999), made.span("t", "b", 9_999)
    truth = told(book, (12_999, made.batch(early)), (13_000, None), (12_000, made.batch(late, late)))
    by_id = {span.span_id: span for span in truth.spans.values()}
    assert (by_id["a"].timeliness, by_id["b"].timeliness) == ("on_time", "late")
    assert by_id["b"].log_clock == T0 + 13_000  # an unreadable message moves the clock, an earlier one does not
    assert [(key.offset, pane.sums["spans"]) for key, pane in truth.late.items()] == [(2, 2)]
    assert sum(pane.sums["spans"] for pane in truth.panes.values()) == 1
    assert sum(pane.sums["spans"] for pane in truth.minutes.values()) == 2
    assert truth.unreadable == {("topic", 0, 1)}


def test_more_than_five_seconds_ahead_is_future_dated_and_loses_against_a_later_copy(made: Any, book: Book) -> None:
    ahead = made.span("t", "a", 5_001)
    truth = told(book, (0, made.batch(ahead)))
    assert [span.timeliness for span in truth.spans.values()] == ["future_dated"]
    assert not truth.panes
    again = told(book, (0, made.batch(ahead)), (1, made.batch(ahead)))
    assert [(span.timeliness, span.offset) for span in again.spans.values()] == [("on_time", 1)]
    assert sum(pane.sums["spans"] for pane in again.minutes.values()) == 1


def test_a_key_past_the_cap_of_its_pane_is_other(made: Any, book: Book) -> None:
    def of(tenant: str, number: int) -> Any:
        context = dict.fromkeys(("request_id", "session_id", "user", "experiment", "run_id", "dataset_id"))
        return made.span("t", f"s{number}", number, context=context | {"tenant": tenant})

    truth = told(book, (10, made.batch(of("a", 1), of("b", 2), of("c", 3), of("a", 4))), caps=Caps(keys=2))
    spans = {key.key.tenant: pane.sums["spans"] for key, pane in truth.panes.items()}
    assert spans == {"a": 2, "b": 1, "other": 1}


def test_a_trace_is_whole_with_its_root_and_all_parents(made: Any, book: Book) -> None:
    root, child = made.span("t", "a", 100, 100), made.span("t", "b", 300, 10, parent_id="a", kind="tool")
    feedback = made.span("t", "c", 90_000, 0, parent_id="a", kind="feedback")
    truth = told(book, (10, made.batch(child)))
    assert truth.traces["t"].reason == "no_root"
    truth = told(book, (10, made.batch(child)), (20, made.batch(root, feedback)))
    trace = truth.traces["t"]
    assert (trace.reason, trace.start, trace.end) == (None, T0 * 10**6, (T0 + 300) * 10**6)
    orphan = made.span("t", "d", 100, parent_id="nobody")
    assert told(book, (10, made.batch(root, orphan))).traces["t"].reason == "orphans"


def test_the_ledger_counts_a_message_once_and_says_what_is_missing(made: Any, book: Book) -> None:
    one, two = made.span("t", "a"), made.span("t", "b")
    first = made.batch(one, sequence=1, made=1)
    third = made.batch(two, sequence=3, made=5, dropped=[{"reason": "full", "spans": 1}], given_up=[2])
    open_end = told(book, (1, first), (2, first), (3, third)).ledger["p", 7]
    assert (open_end.produced, open_end.stored, open_end.duplicates, open_end.gaps) == (5, 2, 1, 1)  # 0 never came
    assert open_end.missing is None
    last = made.batch(sequence=4, made=5, dropped=third["dropped"], given_up=[2], last=True)
    closed = told(book, (1, first), (3, third), (4, last)).ledger["p", 7]
    assert closed.missing == 2
    second = made.batch(made.span("t", "c"), sequence=2, made=2)
    recovered = told(book, (1, first), (3, third), (4, last), (5, second)).ledger["p", 7]
    assert (recovered.stored, recovered.recovered, recovered.missing) == (3, 1, 2)


def test_scores_are_summed_in_millionths_and_nonsense_is_left_out(made: Any, book: Book) -> None:
    scores = [{"name": "hit", "value": value} for value in (0.25, 0.5, float("nan"), float("inf"), 2e9)]
    (pane,) = told(book, (1, made.batch(made.span(scores=scores)))).panes.values()
    assert dict(pane.scores) == {("hit", "count"): 2, ("hit", "sum"): 750_000}


def test_the_cost_of_a_call_is_exact_and_an_unknown_one_is_not_zero(made: Any, book: Book) -> None:
    def cost(failed: bool = False, cached: bool = False, kind: str = "llm", model: str = "gpt-4o-mini", **tokens: int):
        named = dict.fromkeys(("input", "cache_read", "cache_write", "output", "reasoning")) | tokens
        return cost_of(book, kind, failed, cached, named, "openai", [None, model], None, T0 * 10**6)

    assert cost(input=1_000, output=500) == (1_000 * 150 + 500 * 600, "priced")
    assert cost(input=1, cache_read=3, output=0) == (150 + 3 * 75, "priced")
    assert cost(input=1_000) == (None, "unpriced")
    assert cost(input=1_000, failed=True) == (150_000, "priced")
    assert cost(failed=True) == (0, "none")
    assert cost() == (None, "unpriced")
    assert cost(input=10, output=1, model="nobody's") == (None, "unpriced")
    assert cost(input=0, output=0, model="nobody's") == (0, "none")
    assert cost(input=10, output=1, cached=True) == (0, "free")
    assert cost(kind="tool") == (0, "none")
    assert cost(input=2 * 10**9, output=1) == (None, "unpriced")


def test_time_per_output_token_needs_a_first_token_and_two_tokens(made: Any, book: Book) -> None:
    calls = [
        made.llm(output_tokens=9, reasoning_tokens=2, time_to_first_token=50_000_000),
        made.llm(output_tokens=1, time_to_first_token=50_000_000),
        made.llm(output_tokens=9),
    ]
    spans = [made.span("t", str(number), 1, 100, kind="llm", llm=call) for number, call in enumerate(calls)]
    truth = told(book, (1, made.batch(*spans)))
    (pane,) = truth.panes.values()
    assert (pane.tpot, pane.ttft) == ([5_000_000], [50_000_000, 50_000_000])
    assert next(iter(truth.panes)).key.model == "gpt-4o-mini"
