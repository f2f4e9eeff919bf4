"""The judge of pages can tell: each way in which people are paged wrongly is seen, and what protocols undo is not."""

import asyncio
import time

import pytest
from spanloom_processors.delivery.route import default_route

from tests.faults.receipts import Judged, Receipt, judge
from tests.faults.receivers import KINDS, receiving
from tests.oracle.alerts import Firing
from tests.processors.delivery.conftest import alert, running, until

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


@pytest.mark.parametrize("knows", [True, False], ids=["as it is", "mutated"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_does_not_know_what_the_log_has_behind_its_commit_is_found_out(kind: str, knows: bool) -> None:
    """The product itself, before each kind of receiver: a worker dies when it has told that an alert is over. Its heir
    pages nobody, unless it is mutated to know of records before its commit only, as it once was.
    """
    named = {"rule": "Errors", "group": [{"key": "service", "value": "chat"}]}
    since = int(time.time() * 1000) - 20_000
    fired, over = (alert(state, since=since, **named) for state in ("firing", "resolved"))
    committed = 6 if kind == "alertmanager" else 5

    async def story(receiver, url: str) -> None:
        settings = {name.removeprefix("SPANLOOM_").lower(): value for name, value in receiver.settings(url).items()}
        dying, heir = default_route(**settings), default_route(**settings)
        heir.restore([fired][: committed - 5], [fired, over][committed - 5 :] if knows else [])
        for route, first in ((dying, 5), (heir, committed)):
            told = len(receiver.receipts())
            async with running(route):
                if route is heir and kind == "alertmanager":  # it speaks before it has read anything
                    await until(lambda told=told: len(receiver.receipts()) > told)
                for offset in range(first, 7):
                    route.deliver((fired, over)[offset - 5], offset)
                    await until(lambda route=route, offset=offset: route.safe_offset() == offset + 1)

    with receiving(kind) as (receiver, port):
        asyncio.run(story(receiver, f"http://127.0.0.1:{port}"))
        found = judge(receiver.receipts(), {Firing("Errors", (("service", "chat"),), since): True}, deaths=1)
    assert found == Judged([], found.doubled, [])
    assert len(found.doubled) == (not knows and kind != "webhook")
    if kind == "webhook":  # it hears all of it twice, as documented
        assert len(receiver.receipts()) == 4
        assert judge(receiver.receipts(), {Firing("Errors", (("service", "chat"),), since): True}).pages == 2
