"""What people made of what a receiver was sent about alerts.

It reads the receiver's own log, every POST of it, and knows nothing of the product: what people should have been paged
for comes from the oracle.

A person is paged when a page *opens*. Alertmanager knows a page by its labels and PagerDuty by its deduplication key:
what is sent again while it is open changes nothing. A webhook knows nothing: each POST is news. So a page is *doubled*

- when the same firing opens a page a second time: a trigger after its own resolve, or after it had run out;
- when a webhook gets the same state of the same firing more often than once and once for each death of a worker between
  a delivery and its commit (docs/reliability.md allows that, and nothing else).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from tests.oracle.alerts import Firing


class Receipt(NamedTuple):
    """One alert of one POST. Times: epoch s."""

    at: float
    page: str
    """What the receiver knows the page by; empty: it does not tell pages apart."""
    firing: Firing
    fires: bool
    ends: float = inf
    """When it is over unless it is said again."""


class Judged(NamedTuple):
    """What people would complain about, a line each."""

    unasked: list[str]
    """Paged without a reason."""
    doubled: list[str]
    untold: list[str]
    """Not told that it began, or never that it is over."""

    @property
    def pages(self) -> int:
        """How many pages there was no reason for."""
        return len(self.unasked) + len(self.doubled)


def opened(receipts: Iterable[Receipt]) -> Iterator[Receipt]:
    """The receipts that paged somebody."""
    ends: dict[str, float] = {}
    for one in receipts:
        if not one.fires:
            ends.pop(one.page, None)
            continue
        if not one.page or ends.get(one.page, -inf) <= one.at:
            yield one
        ends[one.page] = one.ends


def judge(receipts: Iterable[Receipt], due: Mapping[Firing, bool], deaths: int = 0) -> Judged:
    """What is wrong with what was sent.

    `due`: every firing there was, and whether it is over; `deaths`: how often a worker may have died between a delivery
    and its commit. A firing that was over before anybody could be told is told as over, which pages nobody.
    """
    receipts = list(receipts)
    pages = list(opened(receipts))
    told = {(one.firing, one.fires) for one in receipts}
    heard = {firing for firing, _ in told}
    again = [one for n, one in enumerate(pages) if one.page and one.firing in {page.firing for page in pages[:n]}]
    return Judged(
        [f"paged without a reason: {firing}" for firing in sorted({page.firing for page in pages} - due.keys())],
        [*(f"paged again, at {one.at:.1f}: {one.firing}" for one in again), *_repeated(receipts, deaths)],
        [
            *(f"never told: {firing}" for firing in sorted(due.keys() - heard)),
            *(
                f"never told as over: {firing}"
                for firing, over in sorted(due.items())
                if over and (firing, True) in told and (firing, False) not in told
            ),
        ],
    )


def _repeated(receipts: Iterable[Receipt], deaths: int) -> list[str]:
    """What a receiver that tells no pages apart was sent more often than deaths excuse: one each."""
    times = Counter((one.firing, one.fires) for one in receipts if not one.page)
    return [
        f"sent {count} times in {deaths} deaths, {fires=}: {firing}"
        for (firing, fires), count in times.items()
        if count > 1 + deaths
    ]
