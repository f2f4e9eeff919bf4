"""One query: produced = stored + dropped (why), and what is missing; never "0 missing" where nobody knows."""

import pytest


@pytest.fixture
def ledger(fill, store, traffic):
    """The ledger's row of a producer after these batches arrived, in this order."""

    def of(*batches):
        producer = traffic.id(4)
        values = [
            traffic.encoded([traffic.span() for _ in range(batch.pop("spans", 0))], producer=producer, **batch)
            for batch in batches
        ]
        fill("llm.spans", [(n, 1_700_000_000_000 + n, value) for n, value in enumerate(values)])
        return store.query("SELECT * FROM ledger WHERE producer = {p:String}", p=producer).row(0, named=True)

    return of


HELLO = {"sequence": 0, "made": 0}


def test_what_was_produced_is_stored_or_dropped_for_a_reason(ledger):
    found = ledger(
        dict(HELLO), {"sequence": 1, "spans": 3, "made": 3},
        {"sequence": 2, "spans": 2, "made": 9, "dropped": [{"reason": "buffer_full", "spans": 4}], "last": True},
    )  # fmt: skip
    assert (found["produced"], found["stored"], found["dropped_spans"], found["missing"]) == (9, 5, 4, 0)
    assert dict(found["dropped"]) == {"buffer_full": 4}
    assert (found["gaps"], found["tail"]) == (0, "closed")


def test_what_spans_went_without_is_told_and_takes_none_from_the_account(ledger):
    shed = [{"part": "payloads", "spans": 2}, {"part": "events", "spans": 1}]
    found = ledger(
        dict(HELLO), {"sequence": 1, "spans": 3, "made": 3, "shed": shed[:1]},
        {"sequence": 2, "made": 3, "shed": shed, "last": True},
    )  # fmt: skip
    assert dict(found["shed"]) == {"payloads": 2, "events": 1}
    assert (found["produced"], found["stored"], found["dropped_spans"], found["missing"]) == (3, 3, 0, 0)


def test_a_message_that_never_arrived_is_missing_and_a_gap(ledger):
    found = ledger(dict(HELLO), {"sequence": 2, "spans": 2, "made": 5, "last": True})
    assert (found["missing"], found["gaps"]) == (3, 1)


def test_without_a_last_message_nobody_knows_what_is_missing(ledger):
    found = ledger(dict(HELLO), {"sequence": 1, "spans": 2, "made": 5})
    assert (found["missing"], found["unsettled"], found["tail"]) == (None, 3, "unknown")


def test_a_message_sent_twice_counts_once(ledger):
    twice = {"sequence": 1, "spans": 3, "made": 3}
    found = ledger(dict(HELLO), dict(twice), dict(twice), {"sequence": 2, "made": 3, "last": True})
    assert (found["stored"], found["missing"], found["duplicates"]) == (3, 0, 1)


def test_a_message_given_up_that_was_stored_after_all_is_not_dropped(ledger):
    lost = [{"reason": "undelivered", "spans": 3 + 4}]
    found = ledger(
        dict(HELLO), {"sequence": 1, "spans": 3, "made": 3},
        {"sequence": 3, "made": 7, "dropped": lost, "given_up": [1, 2], "last": True},
    )  # fmt: skip
    assert (found["stored"], found["dropped_spans"], found["recovered"]) == (3, 7, 3)
    assert (found["missing"], found["gaps"]) == (0, 0)


def test_messages_may_arrive_in_any_order(ledger):
    found = ledger(
        {"sequence": 2, "spans": 1, "made": 4, "last": True}, {"sequence": 1, "spans": 3, "made": 3}, dict(HELLO)
    )
    assert (found["produced"], found["stored"], found["missing"], found["gaps"]) == (4, 4, 0, 0)


def test_a_gateway_s_ledger_is_under_its_own_name_whatever_services_it_sends_for(ledger):
    seen = ledger(
        {"sequence": 2, "spans": 1, "made": 2, "service": "two", "environment": "prod", "host": "b", "last": True},
        {"sequence": 1, "spans": 1, "made": 1, "service": "one", "environment": "test", "host": "a"},
        {"sequence": 0, "service": "gateway", "environment": "default", "host": "g"},
    )
    assert (seen["service"], seen["environment"], seen["host"]) == ("gateway", "default", "g")
    assert (seen["produced"], seen["stored"], seen["missing"]) == (2, 2, 0)
