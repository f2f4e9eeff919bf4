"""The state of one source partition: what its log says so far about panes and traces.

A `Partition` is a pure function of the log it is folded over. However the log is cut into polls, and however often a
worker dies and another resumes from a safe point, the rows with the highest span count are the same (ADR 0050).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from spanloom_processors.core.bounds import Bounds
from spanloom_processors.core.offsets import SafePoint
from spanloom_processors.core.revisions import Revision


@dataclass(frozen=True, slots=True)
class Emission:
    """What one source partition has to say now: idempotent upserts and where it stands.

    `panes`: rows of llm.panes' Pane plus `revision`; changed open panes, panes closed for good (`final`, once) and late
    rows. `closed`: those of `panes` that closed for good, each once in the life of this object: advances /metrics.
    `traces`: rows of llm.traces' Trace plus `revision`. A message has one revision in its header: send one a revision.
    `overflow`: spans so far by reason that a bound moved elsewhere; `late`, `skewed`, `duplicates`: spans so far.
    `safe`: what may be committed once this and every earlier emission is flushed; None: leave the commit as it is.
    """

    panes: pl.DataFrame
    closed: pl.DataFrame
    traces: pl.DataFrame
    log_clock: int
    progress: int
    next_offset: int
    overflow: dict[str, int]
    late: int
    skewed: int
    duplicates: int
    safe: SafePoint | None


class Partition:
    """Panes and traces of one source partition, rebuilt from its log.

    `resume` is the decoded metadata of the group's commit, or None (none, unreadable). `log_start` is the first offset
    that can be read: the log's beginning, or, where a commit has no readable metadata, the committed offset. Read from
    `next_offset`: it is the resume point's offset unless the topic was recreated or retention has passed that point.
    """

    def __init__(
        self,
        topic_id: str,
        partition: int,
        revisions: Sequence[Revision] = (Revision(1, 0),),
        bounds: Bounds = Bounds(),
        resume: SafePoint | None = None,
        log_start: int = 0,
    ) -> None:
        raise NotImplementedError

    @property
    def next_offset(self) -> int:
        """The offset to read next."""
        raise NotImplementedError

    def fold(self, spans: pl.DataFrame, messages: pl.DataFrame) -> None:
        """Fold one poll: `messages` has one row (`offset`, `log_time`) for every message, also those without a readable span.

        `spans` are the derived spans (`spanloom_schemas.frames.derive`) of these messages in log order; both frames are
        ordered by offset. Messages before `next_offset` are ignored: they were folded already.
        """
        raise NotImplementedError

    def idle(self, now_ms: int) -> None:
        """Note that a fetch sent at `now_ms` came back empty: everything up to then is folded, nothing closes for good."""
        raise NotImplementedError

    def trim(self, log_start: int) -> None:
        """Note that the log now begins at `log_start`: if unread messages are gone, panes that may have lost spans fall silent."""
        raise NotImplementedError

    def emit(self) -> Emission:
        """Everything that changed since the last call; the state moves on, so send what is returned."""
        raise NotImplementedError
