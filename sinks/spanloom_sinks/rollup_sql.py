"""The statements that sum up panes: windows × keys over all partitions, late spans included."""

from collections.abc import Iterable
from datetime import datetime

from spanloom_schemas.panes import KEY, LATENCY_BOUNDS_S, WORST_KEPT

from spanloom_sinks.rows.panes import SUMS

_SKETCHES = ("duration_sketch", "ttft_sketch", "tpot_sketch")
_LISTS = (*_SKETCHES, "latency_le", "scores", "block_reasons", "worst")
_COLUMNS = ", ".join(("start", *KEY, "revision", *SUMS, *_LISTS))

_BOUNDS = [round(seconds * 1e9) for seconds in LATENCY_BOUNDS_S]

# How a late span counts, from the columns of `spans`; as spanloom_processors.core.aggregate has it (a test compares).
SUM_OF_SPAN = {
    "spans": "1",
    "errors": "s.error",
    "blocks": "s.blocked",
    "cache_hits": "s.cached",
    "documents": "if(s.kind = 'retrieval', length(s.documents), 0)",
    "cited": "arrayCount(d -> d.cited, s.documents)",
    "unpriced": "s.cost_status = 'unpriced'",
    "estimated": "s.usage = 'estimated'",
}
_LIST_OF_SPAN = {
    **{
        f"{name}_sketch": f"if(isNull(s.{name}), [], "
        f"[CAST((ceil(log2(greatest(assumeNotNull(s.{name}), 1)) * 64) - 1, 1), 'Tuple(index Int32, count Int64)')])"
        for name in ("duration", "ttft", "tpot")
    },
    "latency_le": f"arrayMap(i -> toInt64(i = arrayCount(b -> s.duration > b, {_BOUNDS})), range({len(_BOUNDS) + 1}))",
    "scores": "arrayMap(x -> CAST((x.name, 1, round(x.value * 1e6)), 'Tuple(name String, count Int64, sum Int64)'), "
    "arrayFilter(x -> isFinite(x.value) AND abs(x.value) <= 1e9, s.scores))",
    "block_reasons": "if(s.block_reason = '', [], [CAST((s.block_reason, 1), 'Tuple(reason String, count Int64)')])",
    "worst": "CAST([], 'Array(Tuple(why String, value Int64, trace_id String, span_id String))')",
}


# Days (of log time) whose late spans are folded before their raw rows expire: all up to this one.
_FOLDED = "(SELECT max(day) FROM late_1m_folded)"
# Days to be folded: a day before the first row of them may expire, and not while they last.
UNFOLDED = f"""
WITH (SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay\\((\\d+)\\)')) FROM system.tables
      WHERE database = currentDatabase() AND name = 'spans') AS days
SELECT DISTINCT toUnixTimestamp(toDateTime(toDate(log_time), 'UTC')) AS day FROM spans
WHERE toDate(log_time) > {_FOLDED}
  AND now() >= toDateTime(toDate(log_time), 'UTC') + greatest(days - 1, 1) * 86400 + 600
ORDER BY day
"""


def minutes(starts: Iterable[datetime]) -> str:
    """The statement that sums up these minutes: their panes, and the late spans of them, folded or in `spans`.

    Of a partition's pane the highest revision holds, whole; of a span its one true copy.
    """
    window = among(starts)
    panes = f"""
        SELECT toStartOfMinute(p.start) AS at, {_columns("p", KEY + SUMS + _LISTS)}
        FROM panes AS p FINAL
        WHERE toStartOfMinute(p.start) {window} AND p.late_offset < 0
          AND (p.start, p.topic_id, p.partition, p.revision) IN (
              SELECT start, topic_id, partition, max(revision) FROM panes
              WHERE toStartOfMinute(start) {window} AND late_offset < 0 GROUP BY start, topic_id, partition)"""
    late = _late(f"toStartOfMinute(s.end) {window} AND {_LOGGED} > {_FOLDED}")
    folded = f"""
        SELECT l.start AS at, {_columns("l", KEY + SUMS + _LISTS)}
        FROM late_1m AS l FINAL WHERE l.start {window} AND l.day <= {_FOLDED}"""
    revisions = f"""
        SELECT toStartOfMinute(start) AS at, sum(revision) AS revision
        FROM (
            SELECT start, max(revision) AS revision FROM panes
            WHERE toStartOfMinute(start) {window} AND late_offset < 0 GROUP BY start, topic_id, partition)
        GROUP BY at"""
    return _insert("panes_1m", window, f"{panes} UNION ALL {late} UNION ALL {folded}", revisions)


def fold(day: datetime) -> str:
    """The statement that sums up the late spans of a day of log time by minutes, each span once."""
    of_day = f"toDate('{day:%Y-%m-%d}')"
    # By the sorting key, so that FINAL sees all copies of these spans, of whatever day.
    late = _late(f"""{_LOGGED} = {of_day} AND (toStartOfMinute(s.end), s.trace_id) IN (
            SELECT toStartOfMinute(end), trace_id FROM spans
            WHERE toDate(log_time) = {of_day} AND timeliness != 'on_time')""")
    keys = ", ".join(f"t.{name}" for name in KEY)
    return f"""
        INSERT INTO late_1m ({", ".join(("start", *KEY, "day", *SUMS, *_LISTS))})
        SELECT t.at, {keys}, {of_day}, {_MERGED} FROM ({late}) AS t GROUP BY t.at, {keys}"""


# Not `log_time` as it is: parts must not be left out by their day, for they may hold a span's true copy.
_LOGGED = "identity(toDate(s.log_time))"


def _late(where: str) -> str:
    return f"""
        SELECT toStartOfMinute(s.end) AS at, {_columns("s", KEY)},
            {", ".join(f"toInt64(ifNull({SUM_OF_SPAN.get(name, f's.{name}')}, 0)) AS {name}" for name in SUMS)},
            {", ".join(f"{_LIST_OF_SPAN[name]} AS {name}" for name in _LISTS)}
        FROM spans AS s FINAL
        WHERE s.timeliness != 'on_time' AND {where}"""


def hours(starts: Iterable[datetime]) -> str:
    """The statement that sums up these hours from their minutes."""
    window = among(starts)
    rows = f"""
        SELECT toStartOfHour(m.start) AS at, {_columns("m", KEY + SUMS + _LISTS)}
        FROM panes_1m AS m FINAL WHERE toStartOfHour(m.start) {window}"""
    revisions = f"""
        SELECT toStartOfHour(start) AS at, sum(revision) AS revision
        FROM (SELECT start, max(revision) AS revision FROM panes_1m WHERE toStartOfHour(start) {window} GROUP BY start)
        GROUP BY at"""
    return _insert("panes_1h", window, rows, revisions)


def _insert(table: str, window: str, rows: str, revisions: str) -> str:
    """Sums of `rows` by window (`at`) and key; a key in the table that `rows` have no more becomes a row of zeros."""
    keys = ", ".join(f"t.{name}" for name in KEY)
    gone = f"""
        SELECT g.start AS at, {_columns("g", KEY)}, {", ".join(f"toInt64(0) AS {name}" for name in SUMS)},
            {", ".join(f"arrayResize(g.{name}, 0) AS {name}" for name in _LISTS)}
        FROM {table} AS g WHERE g.start {window}"""
    return f"""
        INSERT INTO {table} ({_COLUMNS})
        SELECT t.at, {keys}, any(r.revision), {_MERGED}
        FROM ({rows} UNION ALL {gone}) AS t LEFT JOIN ({revisions}) AS r ON r.at = t.at
        GROUP BY t.at, {keys}"""


def _zipped(merged: str, width: int) -> str:
    return f"arrayZip({', '.join(f'({merged}).{n}' for n in range(1, width + 1))})"


def _worst(merged: str) -> str:
    ranked = f"arraySort(x -> (-x.value, x.span_id, x.trace_id), arrayFilter(x -> x.why = why, {merged}))"
    reasons = f"arraySort(arrayDistinct(({merged}).why))"
    return f"arrayFlatten(arrayMap(why -> arraySlice({ranked}, 1, {WORST_KEPT}), {reasons}))"


_MERGED = f"""{", ".join(f"sum(t.{name})" for name in SUMS)},
            {", ".join(_zipped(f"sumMap(t.{name}.index, t.{name}.count)", 2) for name in _SKETCHES)},
            sumForEach(t.latency_le),
            {_zipped("sumMap(t.scores.name::Array(String), t.scores.count, t.scores.sum)", 3)},
            {_zipped("sumMap(t.block_reasons.reason::Array(String), t.block_reasons.count)", 2)},
            {_worst("groupArrayArray(t.worst)")}"""


def _columns(alias: str, names: tuple[str, ...]) -> str:
    return ", ".join(f"{alias}.{name} AS {name}" for name in names)


def among(starts: Iterable[datetime]) -> str:
    """The condition that a time is one of these."""
    return f"IN ({', '.join(map(literal, starts))})"


def literal(moment: datetime) -> str:
    """A time in whole seconds, as a statement has it."""
    return f"toDateTime({int(moment.timestamp())}, 'UTC')"
