"""Facts → findings: what cannot be made on a small line, and what only notes."""

from spanloom_sinks.verify.facts import Compared, Contents, Lag, Ledger, Log, Messages, Range, Told, Traces
from spanloom_sinks.verify.judging import Facts, judge
from spanloom_sinks.verify.model import Report, State

LOG = Log("t", [Lag("sink", "llm.spans", 0)], {}, {})
RANGE = Range(0, 3_600_000, 0, 3_500_000, 3_500_000, 0, ["t"], LOG)


def facts(**fields):
    plain = {"range": RANGE, "ledger": [], "messages": [], "contents": [], "compared": {}, "traces": []}
    return Facts(**plain | {"told": Told(), "dead": []} | fields)


def said(check, **fields):
    (found,) = [finding for finding in judge(facts(**fields)) if finding.check == check]
    return found.state, found.text


def test_parts_are_added_up():
    parts = [Ledger(1, 5, 3, 2, reasons=(("buffer_full", 2),)), Ledger(2, 4, 3, 1, reasons=(("buffer_full", 1),))]
    assert said("ledger", ledger=parts) == (
        State.EXACT,
        "9 spans produced = 6 stored + 3 dropped (buffer_full 3), in 3 lives of producers",
    )


def test_what_is_in_flight_is_never_missing():
    state, text = said("ledger", ledger=[Ledger(1, 9, 5, in_flight=4)])
    assert (state, "4 in flight" in text, "missing" in text) == (State.EXACT, True, False)
    assert said("traces", traces=[Traces(9, in_flight=2)])[0] is State.EXACT
    state, text = said("topics", range=RANGE._replace(in_flight=7))
    assert (state, "7 messages in flight" in text) == (State.EXACT, True)


def test_more_than_was_looked_into_is_wrong_too():
    assert said("ledger", ledger=[Ledger(lives=9, unexamined=3)])[0] is State.WRONG
    assert said("traces", traces=[Traces(compared=9, unexamined=3)])[0] is State.WRONG


def test_what_retention_removed_is_said():
    state, text = said("log", messages=[Messages(messages=5, removed=3)])
    assert (state, "3 offsets are in no table, and retention removed them" in text) == (State.WRONG, True)
    state, text = said("topics", range=RANGE._replace(log=LOG._replace(removed_before_stored={"llm.traces": 8})))
    assert (state, text[:48]) == (State.WRONG, "retention removed 8 messages of llm.traces befor")


def test_a_span_sent_twice_is_no_loss_and_one_whose_message_is_gone_is_not_known():
    state, text = said("spans", messages=[Messages(1, 5, 2, copies=2, unexplained=1)])
    assert (state, "2 came twice and count once; 1 without a row" in text) == (State.EXACT, True)


def test_dead_letters_and_overflow_are_counted_by_reason():
    state, text = said("unreadable", dead=[("llm.spans", "sink", "not_framed", 3)])
    assert (state, "not_framed 3 (llm.spans, by the sink)" in text) == (State.NOTE, True)
    log = LOG._replace(overflow={"pane_keys": 12, "trace_spans": 3})
    state, text = said("bounds", contents=[Contents(other=12)], range=RANGE._replace(log=log))
    assert (state, "12 spans are in keys called `other`" in text) == (State.NOTE, True)
    assert "pane_keys 12, trace_spans 3" in text


def test_calls_that_count_twice_are_told_with_their_answers():
    assert said("usage") == (State.EXACT, "no call counts twice")
    state, text = said("usage", contents=[Contents(twice=2, twice_of=("trace ab, answer r-1",)), Contents(twice=1)])
    assert (state, text.startswith("3 spans report tokens of calls that another")) == (State.NOTE, True)


def test_panes_past_the_cap_are_compared_in_total():
    assert "2 had more keys than the cap" in said("panes", compared={"panes": [Compared(5, 9, 9, overflowed=2)]})[1]


def test_amended_and_partial_traces_are_told_by_reason():
    told = Told([("complete", "", False, 5), ("complete", "", True, 2), ("partial", "no_root", False, 1)])
    assert said("traces", traces=[Traces(8)], told=told)[1].endswith("; 2 amended by later spans; partial: no_root 1")


def test_nothing_stored_of_what_was_sent_is_not_exact():
    state, text = said("topics", range=RANGE._replace(in_flight=7, topic_ids=[]))
    assert (state, "is the sink running?" in text) == (State.WRONG, True)
    quiet = RANGE._replace(settled=2**53)
    assert said("panes", compared={"panes": [Compared()]}, range=quiet)[0] is State.NOTE


def test_a_topic_made_anew_is_told():
    assert said("topics", range=RANGE._replace(topic_ids=["t", "old"]))[0] is State.EXACT
    assert said("topics", range=RANGE._replace(topic_ids=["old"]))[0] is State.WRONG


def test_books_overlap_only_within_a_partition():
    prices = (("t", 0, "a", 9, 0, 50), ("t", 0, "b", 9, 51, 99), ("t", 1, "b", 9, 0, 99), ("t", 2, "a", 9, 0, 99))
    assert said("prices", contents=[Contents(prices=prices)])[0] is State.NOTE
    mixed = (*prices, ("t", 1, "a", 1, 7, 7))
    state, text = said("prices", contents=[Contents(prices=mixed)])
    assert (state, "two price books at once in partitions 1 " in text) == (State.WRONG, True)


def test_panes_of_another_book_than_their_spans_are_told_and_at_another_cost_wrong():
    same, other = ("a", "b", 7, 0), ("a, b", "b", 2, 1)
    state, text = said("prices", contents=[Contents(mispriced=(same,))])
    assert (
        state,
        text.startswith(
            "7 panes are priced by another book than their spans (panes by a, spans by b), at the same cost; "
        ),
    ) == (State.NOTE, True)
    state, text = said("prices", contents=[Contents(mispriced=(same,)), Contents(mispriced=(other,))])
    assert (state, "9 panes" in text, "1 of them at another cost: give every sink" in text) == (State.WRONG, True, True)


def test_what_spans_went_without_is_told_and_is_not_wrong():
    lives = [Ledger(1, 9, 9, shed=(("payloads", 2),)), Ledger(1, 9, 9, shed=(("events", 1), ("payloads", 3)))]
    state, text = said("ledger", ledger=lives)
    assert state is State.EXACT
    assert "; 1 stored without their events, room was short; 5 stored without their payloads, room was short" in text


def test_the_outcome_is_one_line():
    fine = Report(0, 1, judge(facts(contents=[Contents(spans=5)], ledger=[Ledger(1, 9, 5, dropped=4)])), 1.23)
    assert fine.outcome == (
        "exact: 5 spans stored, 0 missing, 0 double, 0 wrong panes, 0 wrong traces; 4 dropped for a reason; took 1.2 s"
    )
    wrong = Report(0, 1, judge(facts(ledger=[Ledger(missing=1)], traces=[Traces(absent=1)])), 1.23)
    assert wrong.outcome == "NOT exact: ledger, traces (see above); took 1.2 s"
