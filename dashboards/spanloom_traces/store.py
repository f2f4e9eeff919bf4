"""`TraceStore`: everything that a program may ask about traces, runs and their figures."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, get_args

from msgspec import Struct
from spanloom_schemas import settings as environment
from spanloom_schemas.settings import ClickHouseSettings

from spanloom_traces import alerts, compare, dashboard, explain, logs, runs, spans, traces, whole
from spanloom_traces.compare import Comparison
from spanloom_traces.connection import Connection, NotThere, StoreError
from spanloom_traces.dashboard import DashboardData
from spanloom_traces.explain import Explanation
from spanloom_traces.found import Found
from spanloom_traces.logs import Level, LogRecord
from spanloom_traces.model import Alert, Answer, Span, SpanDetail, Trace
from spanloom_traces.period import Since
from spanloom_traces.runs import Grouping, Run
from spanloom_traces.trace_filter import TraceFilter
from spanloom_traces.traces import Order
from spanloom_traces.tree import Node, arrange

_HOUR = timedelta(hours=1)
_ALWAYS = timedelta(days=3650)
_ALL = TraceFilter()


class WovenTrace(Struct, frozen=True):
    """A trace with its spans as a tree."""

    trace_id: str
    summary: Trace | None
    """The one truth about it; None while it is not assembled: what follows is then what its spans say so far."""
    tree: tuple[Node, ...]
    """Every span, parents before children, with its depth; empty when the spans have expired."""

    @property
    def spans(self) -> Found[Span]:
        """The spans in the order of the tree."""
        return Found(Span, [node.span for node in self.tree])

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        if self.summary:
            return self.summary.duration
        return max(0, max(span.end for span in self.spans) - min(span.start for span in self.spans))

    @property
    def input_tokens(self) -> int:
        """All the input of all model calls."""
        return self.summary.input_tokens if self.summary else sum(span.input_tokens or 0 for span in self.spans)

    @property
    def output_tokens(self) -> int:
        """All the output of all model calls."""
        return self.summary.output_tokens if self.summary else sum(span.output_tokens or 0 for span in self.spans)

    @property
    def cost(self) -> int | None:
        """Nano-dollars of the spans that have a price; beside it `unpriced` spans cost an unknown amount."""
        if self.summary:
            return self.summary.cost
        known = [span.cost for span in self.spans if span.cost is not None]
        return sum(known) if known else None

    @property
    def unpriced(self) -> int:
        """Spans that use tokens and have no price."""
        if self.summary:
            return self.summary.unpriced
        return sum(span.cost_status == "unpriced" for span in self.spans)


class TraceStore:
    """Traces, runs and figures of a ClickHouse database, which is only read. A context manager; threads may share it.

    Without settings it reads where SPANLOOM_CLICKHOUSE_URL and its like say. Every method raises StoreError (one line)
    when it cannot answer: the database is away, there is no such trace or run, a filter cannot be read (FilterError).
    """

    def __init__(self, settings: ClickHouseSettings | None = None) -> None:
        self._connection = Connection(settings or environment.read(ClickHouseSettings))

    def get_trace(self, trace_id: str) -> WovenTrace:
        """The trace with its spans as a tree, its latency, tokens and cost."""
        trace_id = _id(trace_id)
        summary = traces.trace(self._connection, trace_id)
        found = spans.spans(self._connection, trace_id)
        if not found and summary is None:
            raise _no_trace(trace_id)
        return WovenTrace(trace_id, summary, arrange(found))

    def recent(self, *, since: Since = _HOUR, limit: int = 20) -> Found[Trace]:
        """The latest traces."""
        return self.query(since=since, limit=limit)

    def errors(self, *, since: Since = _HOUR, limit: int = 20) -> Found[Trace]:
        """The latest traces with a span in error."""
        return self.query(TraceFilter(errors=True), since=since, limit=limit)

    def slow(self, *, over: timedelta = timedelta(), since: Since = _HOUR, limit: int = 20) -> Found[Trace]:
        """The traces that took longer than `over`, the slowest first."""
        return self.query(TraceFilter(over=over), since=since, order="slow", limit=limit)

    def costly(self, *, over: float | None = None, since: Since = _HOUR, limit: int = 20) -> Found[Trace]:
        """The traces that cost more than `over` dollars, as far as is known, the costliest first."""
        return self.query(TraceFilter(dearer=over), since=since, order="costly", limit=limit)

    def query(
        self,
        where: TraceFilter | str = _ALL,
        *,
        since: Since = _HOUR,
        until: datetime | None = None,
        order: Order = "recent",
        limit: int = 20,
    ) -> Found[Trace]:
        """The traces that `where` finds: a TraceFilter, or a text such as `service = 'chat' AND duration > 2`.

        A text is in the grammar of `spanloom_traces.grammar`; `spanloom_traces.traces.FIELDS` are what it may name.
        """
        found = traces.traces(self._connection, where, since=since, until=until, order=order, limit=limit)
        return Found(Trace, found)

    def logs(self, trace_id: str, level: Level = "info") -> Found[LogRecord]:
        """What happened in the trace, by time: events, errors and blocks at `level` and above."""
        return Found(LogRecord, logs.logs(self._details(_id(trace_id)), level))

    def explain(self, trace_id: str) -> Explanation:
        """What one needs to find why the trace's answer was wrong, slow, dear or blocked."""
        trace_id = _id(trace_id)
        found = self._details(trace_id)
        return explain.explain(trace_id, traces.trace(self._connection, trace_id), found)

    def runs(
        self,
        filter: str = "",
        *,
        by: Grouping = "run",
        since: Since = timedelta(days=30),
        until: datetime | None = None,
        limit: int = 100,
    ) -> Found[Run]:
        """The runs, or prompt versions, that a filter in MLflow's grammar finds, the latest first.

        `params.llm.model = 'gpt-4o' AND metrics.latency_ms_p95 < 1200`; `spanloom_traces.runs` says what there is.
        """
        return Found(Run, runs.runs(self._connection, filter, by=by, since=since, until=until, limit=limit))

    def compare(self, a: str, b: str) -> Comparison:
        """Two runs by their ids, two prompt versions as `id@version`, or two traces by theirs, side by side.

        What both names are is looked up in this order.
        """
        for by in get_args(Grouping):
            found = runs.named(self._connection, (a, b), by=by, since=_ALWAYS)
            if a in found and b in found:
                return compare.compare_runs(by, found[a], found[b])
        left_trace, right_trace = (traces.trace(self._connection, name.strip().lower()) for name in (a, b))
        if left_trace and right_trace:
            return compare.compare_traces(
                (left_trace, spans.details(self._connection, left_trace.trace_id)),
                (right_trace, spans.details(self._connection, right_trace.trace_id)),
            )
        raise NotThere(
            f"{a} and {b} are neither two runs, nor two prompt versions (id@version), nor two traces; "
            f"spanloom runs and spanloom traces list them"
        )

    def dashboard_data(
        self, *, since: Since = _HOUR, until: datetime | None = None, service: str = "", environment: str = ""
    ) -> DashboardData:
        """The figures of a dashboard, of all services or one: requests, tokens, cost, latencies, errors, cache hits."""
        return dashboard.dashboard_data(self._connection, since, until, service, environment)

    def whole(
        self, trace_ids: Sequence[str] = (), *, since: timedelta = _HOUR, until: timedelta = timedelta()
    ) -> whole.Whole:
        """The spans of some traces, or all that ended from `since` to `until` ago: every column, each span once."""
        if trace_ids:
            return whole.of_traces(self._connection, [_id(trace_id) for trace_id in trace_ids])
        return whole.of_range(self._connection, since, until)

    def alerts(self, *, since: Since = _HOUR) -> Found[Alert]:
        """The alerts that are pending or firing, and those that were resolved since then."""
        return Found(Alert, alerts.alerts(self._connection, since))

    def answer(self, statement: str) -> Answer:
        """What one statement in ClickHouse's SQL answers; the server refuses one that would change anything."""
        return self._connection.answer(statement)

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _details(self, trace_id: str) -> list[SpanDetail]:
        found = spans.details(self._connection, trace_id)
        if not found:
            raise _no_trace(trace_id)
        return found


def _id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", trace_id := text.strip().lower()):
        raise StoreError("a trace id is 32 hexadecimal digits; spanloom traces lists the latest")
    return trace_id


def _no_trace(trace_id: str) -> NotThere:
    return NotThere(f"there is no trace {trace_id}, or its spans have expired; spanloom traces lists the latest")
