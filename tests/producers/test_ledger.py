from hypothesis import given
from hypothesis import strategies as st
from spanloom.ledger import Ledger


def test_a_given_up_message_is_explained_until_an_explanation_is_in_the_log() -> None:
    ledger = Ledger()
    for spans in (0, 5, 7):
        ledger.sent(ledger.next_sequence(), spans, 100)
    ledger.give_up(1, "timeout")
    ledger.delivered(0)
    assert ledger.given_up == [1]  # header 0 left before the gap was known
    ledger.sent(ledger.next_sequence(), 1, 100)
    ledger.give_up(2, "timeout")
    ledger.delivered(3)
    assert ledger.given_up == [2]
    assert ledger.dropped == {"timeout": 12}


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["delivered", "timeout", "rejected"]))), st.randoms())
def test_made_is_delivered_plus_dropped_whatever_becomes_of_the_messages(
    fates: list[tuple[int, str]],
    order: "st.Random",  # type: ignore[name-defined]
) -> None:
    ledger = Ledger()
    ledger.refused = {"queue_full": 3}
    pending = []
    for spans, fate in fates:
        ledger.popped += spans
        sequence = ledger.next_sequence()
        ledger.sent(sequence, spans, 10)
        pending.append((sequence, spans, fate))
    order.shuffle(pending)
    delivered = 0
    for sequence, spans, fate in pending:
        if fate == "delivered":
            ledger.delivered(sequence)
            delivered += spans
        else:
            ledger.give_up(sequence, fate)
    assert ledger.made == delivered + sum(ledger.dropped.values())
    assert not ledger.under_way
    assert set(ledger.given_up) == {sequence for sequence, _, fate in pending if fate != "delivered"}
