"""What a pane must hold: sums, and the exact latencies that its sketches stand for."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.oracle.spans import SEGMENTS, TOKENS, Key, Span

WORST = 3
SCORE_LIMIT = 1e9
LATENCIES = ("duration", "ttft", "tpot")
SUMS = (
    *("spans", "errors", "blocks", "cost", "unpriced", "estimated", "cache_hits", "documents", "cited", *LATENCIES),
    *(f"{name}_tokens" for name in (*TOKENS, *SEGMENTS)),
)


class Caps(NamedTuple):
    """What one pane holds at most; the rest goes to `other`."""

    keys: int = 2_000
    labels: int = 64


class PaneKey(NamedTuple):
    """One pane of one source partition and key; `start` is epoch ms."""

    topic_id: str
    partition: int
    start: int
    key: Key


class LateKey(NamedTuple):
    """What came late, or dated in the future, in one message."""

    topic_id: str
    partition: int
    start: int
    key: Key
    offset: int


@dataclass
class Pane:
    """Sums over spans, by the names of the table's columns; latencies one by one, sorted."""

    sums: Counter[str] = field(default_factory=Counter)
    duration: list[int] = field(default_factory=list)
    ttft: list[int] = field(default_factory=list)
    tpot: list[int] = field(default_factory=list)
    scores: Counter[tuple[str, str]] = field(default_factory=Counter)
    """by (name, "count") and (name, "sum"), sums in millionths"""
    block_reasons: Counter[str] = field(default_factory=Counter)
    worst: dict[str, list[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    """by reason (-value, span id, trace id) of the WORST spans it applies to"""
    members: list[tuple[Span, list[tuple[str, float]], str | None]] = field(default_factory=list)
    """what `add` was given, in the order of the log"""

    def add(self, span: Span, scores: list[tuple[str, float]], reason: str | None) -> None:
        """Count a span, with its scores and block reason by the names that the pane gives them."""
        self.members.append((span, scores, reason))
        self.sums.update(span.counts)
        for latency in LATENCIES:
            value = getattr(span, latency)
            if value is not None:
                self.sums[latency] += value
                getattr(self, latency).append(value)
        for name, value in scores:
            self.scores.update({(name, "count"): 1, (name, "sum"): round(value * 10**6)})
        if reason is not None:
            self.block_reasons[reason] += 1
        self._rank(span)

    def _rank(self, span: Span) -> None:
        values = {
            "slow": span.duration,
            "error": span.duration if span.error else None,
            "blocked": span.duration if span.blocked else None,
            "costly": span.cost or None,
            "slow_ttft": span.ttft,
            "slow_tpot": span.tpot,
        }
        for why, value in values.items():
            if value is not None:
                self.worst[why] = sorted([*self.worst[why], (-value, span.span_id, span.trace_id)])[:WORST]

    def merge(self, other: "Pane") -> None:
        """Count all that another pane counts."""
        self.sums.update(other.sums)
        self.scores.update(other.scores)
        self.block_reasons.update(other.block_reasons)
        for latency in LATENCIES:
            getattr(self, latency).extend(getattr(other, latency))
        for why, ranked in other.worst.items():
            self.worst[why] = sorted([*self.worst[why], *ranked])[:WORST]

    def prefix(self, spans: int) -> "Pane":
        """The pane as it was when it held so many spans."""
        pane = Pane()
        for member in self.members[:spans]:
            pane.add(*member)
        pane.settle()
        return pane

    def settle(self) -> None:
        """Sort the latencies."""
        for latency in LATENCIES:
            getattr(self, latency).sort()


def of_partition(
    spans: Iterable[Span], caps_at: Callable[[int], Caps]
) -> tuple[dict[PaneKey, Pane], dict[LateKey, Pane]]:
    """Panes and late rows of the copies of spans in one partition's log, in its order; `caps_at` a pane's start."""
    panes: dict[PaneKey, Pane] = {}
    late: dict[LateKey, Pane] = {}
    held: set[tuple[int, str, str]] = set()
    keys: dict[int, set[Key]] = defaultdict(set)
    names: dict[tuple[int, str], set[str]] = defaultdict(set)
    for span in spans:
        scores = [(name, value) for name, value in span.scores if math.isfinite(value) and abs(value) <= SCORE_LIMIT]
        if span.timeliness != "on_time":
            place = LateKey(span.topic_id, span.partition, span.pane, span.key, span.offset)
            late.setdefault(place, Pane()).add(span, scores, span.block_reason)
            continue
        if (span.pane, span.trace_id, span.span_id) in held:
            continue
        caps = caps_at(span.pane)
        held.add((span.pane, span.trace_id, span.span_id))
        key = span.key if _admitted(keys[span.pane], span.key, caps.keys) else _other(span.key)
        keys[span.pane].add(key)
        scores = [(_label(names[span.pane, "scores"], name, caps.labels), value) for name, value in scores]
        reason = span.block_reason
        if reason is not None:
            reason = _label(names[span.pane, "block_reasons"], reason, caps.labels)
        pane = panes.setdefault(PaneKey(span.topic_id, span.partition, span.pane, key), Pane())
        pane.add(span, scores, reason)
    for pane in (*panes.values(), *late.values()):
        pane.settle()
    return panes, late


def roll_up(panes: dict[PaneKey, Pane], late_spans: Iterable[Span], seconds: int) -> dict[tuple[int, Key], Pane]:
    """Windows (start in epoch ms, key) over all partitions: their panes, and what was late, each span once."""
    width = seconds * 1000
    found: dict[tuple[int, Key], Pane] = {}
    for place, pane in panes.items():
        found.setdefault((place.start // width * width, place.key), Pane()).merge(pane)
    for span in late_spans:
        scores = [(name, value) for name, value in span.scores if math.isfinite(value) and abs(value) <= SCORE_LIMIT]
        window = span.end // (width * 1_000_000) * width
        one = Pane()
        one.add(span, scores, span.block_reason)
        one.worst.clear()  # a late span is nobody's exemplar: its window has been looked at
        found.setdefault((window, span.key), Pane()).merge(one)
    for pane in found.values():
        pane.settle()
    return found


def _admitted(known: set[Key], key: Key, most: int) -> bool:
    return key in known or len(known) < most


def _other(key: Key) -> Key:
    return Key(*("other" if isinstance(value, str) else value for value in key))


def _label(known: set[str], name: str, most: int) -> str:
    if name not in known and len(known) < most:
        known.add(name)
    return name if name in known else "other"
