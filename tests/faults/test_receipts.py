"""The judge of pages can tell: each way in which people are paged wrongly is seen, and what protocols undo is not."""

import pytest

from tests.faults.receipts import Judged, Receipt, judge
from tests.oracle.alerts import Firing

FIRST, NEXT, OTHER = (
    Firing(rule, (("service", "chat"),), since)
    for rule, since in (("Errors", 1000), ("Errors", 90_000), ("NoData", 1000))
)
PAGE = "Errors/chat"


def sent(*what: tuple[float, Firing, bool], page: str | None = PAGE, lasts: float = 900) -> list[Receipt]:
    """Receipts as (time, firing, fires); without a page's name it is the firing's own."""
    return [Receipt(at, str(f) if page is None else page, f, fires, at + lasts) for at, f, fires in what]


def test_what_is_said_again_while_it_is_open_pages_nobody() -> None:
    again = sent(*((at, FIRST, True) for at in (1, 1.5, 61, 121, 121)), (150, FIRST, False), (151, FIRST, False))
    assert judge(again, {FIRST: True}) == Judged([], [], [])
    assert judge(sent((1, FIRST, True), (1, FIRST, True), page=None), {FIRST: False}).pages == 0


@pytest.mark.parametrize(
    "receipts",
    [
        sent((1, FIRST, True), (60, FIRST, False), (61, FIRST, True), (62, FIRST, False)),
        sent((1, FIRST, True), (60, FIRST, False), (61, FIRST, True), (62, FIRST, False), page=None),
        sent((1, FIRST, True), (240, FIRST, True), (241, FIRST, False), lasts=200),
    ],
    ids=["a trigger after its resolve", "the same, by PagerDuty's key", "it had run out"],
)
def test_a_page_that_opens_twice_for_one_firing_is_doubled_though_the_set_of_pages_is_right(receipts) -> None:
    found = judge(receipts, {FIRST: True})
    assert (found.pages, len(found.doubled), found.unasked, found.untold) == (1, 1, [], [])


def test_the_next_firing_of_a_group_is_a_page_of_its_own() -> None:
    both = sent((1, FIRST, True), (80, FIRST, False), (95, NEXT, True))
    assert judge(both, {FIRST: True, NEXT: False}) == Judged([], [], [])


def test_a_webhook_may_hear_again_what_a_death_left_uncommitted_and_no_more() -> None:
    twice = sent((1, FIRST, True), (2, FIRST, True), (9, FIRST, False), page="")
    assert judge(twice, {FIRST: True}, deaths=1) == Judged([], [], [])
    assert len(judge(twice, {FIRST: True}).doubled) == 1
    both = [*twice, *sent((10, FIRST, True), (11, FIRST, False), page="")]
    assert len(judge(both, {FIRST: True}, deaths=1).doubled) == 1
    assert judge(both, {FIRST: True}, deaths=2).pages == 0


def test_a_page_without_a_reason_is_seen_and_one_told_as_over_pages_nobody() -> None:
    assert judge(sent((1, OTHER, True)), {}).unasked == [f"paged without a reason: {OTHER}"]
    assert judge(sent((1, OTHER, False)), {OTHER: True}) == Judged([], [], [])


def test_what_was_never_told_or_never_told_as_over_is_seen() -> None:
    assert judge([], {FIRST: False}).untold == [f"never told: {FIRST}"]
    assert judge(sent((1, FIRST, True)), {FIRST: True}).untold == [f"never told as over: {FIRST}"]
    assert judge(sent((1, FIRST, True)), {FIRST: False}).untold == []
