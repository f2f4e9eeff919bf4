"""The oracle: from the log of llm.spans as it was produced, what every table must hold.

Plain Python, span by span, written from the rules and not from the code that it judges. It shares with the product the
codec and the price book's data, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spanloom_schemas.prices.book import Book

from tests.oracle import ledger, panes, spans, traces
from tests.oracle.ledger import Epoch
from tests.oracle.panes import Caps, LateKey, Pane, PaneKey
from tests.oracle.spans import Key, Logged, Span
from tests.oracle.traces import Trace


class Place(NamedTuple):
    """A partition of one life of llm.spans: a topic that is made anew has another id."""

    topic_id: str
    partition: int


Identity = tuple[str, str, str, int]


@dataclass
class Truth:
    """What the tables must hold."""

    spans: dict[Identity, Span] = field(default_factory=dict)
    """each span once: of its copies the one that counts"""
    traces: dict[str, Trace] = field(default_factory=dict)
    panes: dict[PaneKey, Pane] = field(default_factory=dict)
    late: dict[LateKey, Pane] = field(default_factory=dict)
    minutes: dict[tuple[int, Key], Pane] = field(default_factory=dict)
    hours: dict[tuple[int, Key], Pane] = field(default_factory=dict)
    ledger: dict[tuple[str, int], Epoch] = field(default_factory=dict)
    """by producer and epoch"""
    unreadable: set[tuple[str, int, int]] = field(default_factory=set)
    """messages that must be dead letters: topic id, partition, offset"""


def truth_of(
    logs: Mapping[Place, Sequence[Logged]], book: Book, caps_at: Callable[[int], Caps] = lambda start: Caps()
) -> Truth:
    """What the tables must hold once all of these logs have been read by processors and sink.

    `caps_at`: what a pane that starts then (epoch ms) holds at most.
    """
    truth = Truth()
    copies: list[Span] = []
    for place, messages in logs.items():
        own = list(spans.read(*place, list(messages), book))
        on_time, late = panes.of_partition(own, caps_at)
        truth.panes |= on_time
        truth.late |= late
        truth.unreadable |= {(*place, message.offset) for message in messages if message.batch is None}
        copies += own
    truth.spans = _each_once(copies)
    late_spans = [span for span in truth.spans.values() if span.timeliness != "on_time"]
    truth.traces = traces.of_spans(copies)
    truth.minutes = panes.roll_up(truth.panes, late_spans, 60)
    truth.hours = panes.roll_up(truth.panes, late_spans, 3600)
    truth.ledger = ledger.of_batches(
        message.batch for messages in logs.values() for message in messages if message.batch is not None
    )
    return truth


def _each_once(copies: Sequence[Span]) -> dict[Identity, Span]:
    """Of the copies of a span one that is not future-dated, then the first in its log."""
    found: dict[Identity, Span] = {}
    for span in copies:
        best = found.get(span.identity)
        if best is None or _rank(span) < _rank(best):
            found[span.identity] = span
    return found


def _rank(span: Span) -> tuple[bool, int, int]:
    return span.timeliness == "future_dated", span.offset, span.position
