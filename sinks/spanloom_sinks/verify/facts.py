"""What the tables and topics answered, summed up: what `judging` judges. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """A part of the range, in epoch seconds."""

    since: int
    until: int


class Offsets(NamedTuple):
    """A run of offsets of one partition of llm.spans."""

    topic_id: str
    partition: int
    first: int
    stop: int


class Compared(NamedTuple):
    """Stored numbers against the same from the raw rows: of panes, minutes, hours, late rows or quantiles."""

    compared: int = 0
    raw: int = 0
    """Spans by the raw rows."""
    told: int = 0
    """Spans by what is compared with them."""
    overflowed: int = 0
    """Of `compared`, those compared in total only: a cap put keys together as `other`."""
    differ: int = 0
    worst: float = 0.0
    """Of quantiles, the largest relative error."""
    shown: tuple[str, ...] = ()

    @property
    def wrong(self) -> int:
        """How much is not as it should be."""
        return self.differ


class Contents(NamedTuple):
    """What spans of a window are."""

    spans: int = 0
    late: int = 0
    future_dated: int = 0
    unpriced: int = 0
    calls: int = 0
    other: int = 0
    """On-time spans in keys called `other`."""
    prices: tuple[tuple[str, int, str, int, int, int], ...] = ()
    """Topic id, partition, price version, model calls, first and last offset of them."""
    beyond: int = 0
    """Rows of offsets that the topic does not have."""
    mispriced: tuple[tuple[str, str, int, int], ...] = ()
    """Price versions of panes, those of their spans, which are others; panes, and how many of them at another cost."""
    twice: int = 0
    """Spans with usage of calls that another span, of another instrumentation, has counted."""
    twice_of: tuple[str, ...] = ()
    """Trace ids and ids of answers of some of these, a line each."""

    @property
    def wrong(self) -> int:
        """How much is not as it should be."""
        return self.beyond + sum(differ for *_, differ in self.mispriced)


class Messages(NamedTuple):
    """Messages of a run of offsets against the rows they became."""

    messages: int = 0
    said: int = 0
    """Spans that the messages held."""
    rows: int = 0
    """Places (offset, position) that have a row."""
    twice: int = 0
    """Rows whose place another row has."""
    more: int = 0
    """Rows that no message accounts for."""
    copies: int = 0
    """Spans without a row of their own, because another message brought the same span."""
    lost: int = 0
    """Spans that a message held and no row has."""
    unexplained: int = 0
    """Spans without a row whose message can no longer be read: copies, or lost."""
    skipped: int = 0
    """Offsets under which there is no message."""
    unstored: int = 0
    """Messages in the topic that are neither stored nor dead letters."""
    removed: int = 0
    """Offsets that are in no table, and which the topic no longer holds."""
    shown: tuple[str, ...] = ()

    @property
    def wrong(self) -> int:
        """How much is not as it should be."""
        return self.twice + self.more + self.lost + self.unstored + self.removed


class Ledger(NamedTuple):
    """Lives of producers that sent something in the range."""

    lives: int = 0
    produced: int = 0
    stored: int = 0
    dropped: int = 0
    recovered: int = 0
    duplicates: int = 0
    """Messages that came twice."""
    reasons: tuple[tuple[str, int], ...] = ()
    shed: tuple[tuple[str, int], ...] = ()
    """Stored spans that went without a part of theirs, by part."""
    tail_unknown: int = 0
    """Lives without a last message."""
    missing: int = 0
    """Spans that were made and are neither stored nor dropped."""
    gaps: int = 0
    """Messages that were numbered and never came."""
    extra: int = 0
    """Spans stored beyond those that were made."""
    in_flight: int = 0
    """Spans that may still come."""
    beheaded: int = 0
    """Lives whose first messages are older than what the ledger keeps."""
    unexamined: int = 0
    """Lives that do not balance beyond those that were looked into."""
    shown: tuple[str, ...] = ()

    @property
    def wrong(self) -> int:
        """How much is not as it should be."""
        return self.missing + self.gaps + self.extra + self.unexamined


class Traces(NamedTuple):
    """Traces that have spans in a window against their summaries."""

    compared: int = 0
    absent: int = 0
    """Without a summary, though they were closed long ago."""
    differ: int = 0
    """With other counts or sums than their spans."""
    doubled: int = 0
    """With more than one summary."""
    in_segments: int = 0
    """Of too many spans to be summed up again: left in several summaries, which add up to their spans."""
    in_flight: int = 0
    unexamined: int = 0
    """That may differ, beyond those that were looked into."""
    shown: tuple[str, ...] = ()

    @property
    def wrong(self) -> int:
        """How much is not as it should be."""
        return self.absent + self.differ + self.doubled + self.unexamined


class Told(NamedTuple):
    """Summaries of traces of the range by state, reason and whether they were amended."""

    traces: Sequence[tuple[str, str, bool, int]] = ()


class Lag(NamedTuple):
    """How far a group is behind in a topic, in messages."""

    group: str
    topic: str
    messages: int


class Log(NamedTuple):
    """The state of the topics; None in a Range where they were not asked."""

    topic_id: str
    lags: Sequence[Lag]
    removed_before_stored: Mapping[str, int]
    """By topic the messages that retention removed before the sink had committed past them."""
    overflow: Mapping[str, int]


class Range(NamedTuple):
    """What was asked for and what could be judged."""

    since: int
    until: int
    """Epoch ms."""
    kept_since: int
    """Epoch ms from which on the tables keep everything; what is older is left out."""
    settled: int
    """Panes of all partitions that end before this (epoch ms) are judged."""
    traces_settled: int
    """Traces whose last span came before this (epoch ms) are judged."""
    in_flight: int
    """Messages of the range in the topic that are not in the tables yet."""
    topic_ids: Sequence[str]
    """Of the messages stored in the range, the newest first."""
    log: Log | None
