"""The rule engine: one pure fold over llm.panes, with that topic's log time as its clock.

The promise: live = restart = backtest over one llm.panes log. What a message leads to depends on the messages before it
and on nothing else: not on how a poll cut the log, not on the wall clock, not on which process reads.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from spanloom_processors.core.alerts.records import Alert, Hour, SafePoint
from spanloom_processors.core.alerts.rules import Rule


class Engine:
    """The state of all rules.

    Life: `restore` once, then `fold` every message of llm.panes from the safe offset on (from offset 0 the first time),
    `fold_traces` every message of llm.traces. What they return is to be sent to llm.alerts (key: `records.alert_key`),
    `closed_hours()` to llm.hours (key: `records.hour_key`); once both are flushed, `safe()` may be committed for
    llm.panes (`SafePoint.offset` with `SafePoint.metadata()`) and, for llm.traces, the next offset.
    """

    def __init__(self, rules: Sequence[Rule]) -> None: ...

    def restore(self, alerts: Iterable[Alert], hours: Iterable[Hour], judged: int = 0) -> None:
        """Take back the records of llm.alerts and llm.hours (in log order; the last of a key counts), before any fold.

        `judged`: of the committed safe point (`SafePoint.judged_from(metadata)`); 0 without a commit.
        """

    def fold(self, headers: pl.DataFrame, panes: pl.DataFrame) -> list[Alert]:
        """Fold messages of llm.panes; return the transitions they lead to, in order.

        `headers`, `panes`: `headers` and `rows` of `splice.decode("pane_batch", messages)`, any number of messages in
        offset order. Partition -1 is a tick: only its log time counts. Where one emission of a source partition is split
        over messages, only the last of them may carry the new `progress`.
        """
        raise NotImplementedError

    def fold_traces(self, headers: pl.DataFrame, traces: pl.DataFrame) -> list[Alert]:
        """Fold messages of llm.traces for rules about one request; return the transitions.

        `headers`, `traces`: as decoded from "trace_batch", of any partitions, in offset order within a partition.
        """
        raise NotImplementedError

    def idle_traces(self, partition: int, now_ms: int) -> list[Alert]:
        """Resolve what is due on a partition of llm.traces whose fetch sent at `now_ms` came back empty."""
        raise NotImplementedError

    def closed_hours(self) -> list[Hour]:
        """Hours closed since the last call. Before they are flushed, `safe()` must not be committed."""
        raise NotImplementedError

    def safe(self) -> SafePoint | None:
        """The point from which a restart rebuilds this state: commit it for llm.panes; None: nothing folded yet."""
        raise NotImplementedError

    def safe_offset(self) -> int | None:
        """The first offset of llm.panes still needed."""
        point = self.safe()
        return point.offset if point else None
