"""What verify asks of numbers that sum up others: panes, minutes, hours and hours of traces, key by key. Pure."""

from spanloom_schemas.panes import KEY

from spanloom_sinks import trace_hours_sql
from spanloom_sinks.rows.panes import SUMS
from spanloom_sinks.rows.spans import PANE_MS
from spanloom_sinks.verify.statements import OTHER, SHOWN, UNSETTLED, bound, of_span, window


def _compared(
    spaces: tuple[str, ...],
    told: str,
    raw: str,
    key: tuple[str, ...] = KEY,
    sums: tuple[str, ...] = SUMS,
    overflowed: str = OTHER,
) -> tuple[str, str]:
    """Two sides of a comparison by `spaces` and key, as the statement of its totals and that of examples.

    Both sides bring `spaces`, `key` and `sums`. A space is wrong by its keys; where a cap put keys together as `other`
    (`overflowed`), by its total.
    """
    rows, keys, groups = ", ".join((*spaces, *key, *sums)), ", ".join((*spaces, *key)), ", ".join(spaces)
    by_space = f"""
WITH
    by_key AS (
        SELECT {keys}, {", ".join(f"sum(if(x.side = 1, x.{name}, -x.{name})) AS d_{name}" for name in sums)},
            sumIf(x.spans, x.side = 1) AS raw, sumIf(x.spans, x.side = 0) AS told, ({_any_of("d_", sums)}) AS differs
        FROM (SELECT {rows}, 0 AS side FROM ({told}) UNION ALL SELECT {rows}, 1 AS side FROM ({raw})) AS x
        GROUP BY {keys}),
    by_space AS (
        SELECT {groups}, {", ".join(f"sum(k.d_{name}) AS t_{name}" for name in sums)}, sum(k.raw) AS raw_spans,
            sum(k.told) AS told_spans, max({overflowed}) AS overflowed,
            if(overflowed, {_any_of("t_", sums)}, countIf(k.differs) > 0) AS wrong
        FROM by_key AS k GROUP BY {groups})
"""
    totals = """
SELECT count() AS compared, sum(raw_spans) AS raw, sum(told_spans) AS told, countIf(b.wrong) AS differ,
    countIf(b.overflowed) AS overflowed
FROM by_space AS b
"""
    named = ", ".join(f"if(t_{name} != 0, '{name} ' || toString(-t_{name}), '')" for name in sums)
    examples = f"""
SELECT {", ".join(f"toString({name}) AS at_{name}" for name in spaces)}, raw_spans, told_spans,
    arrayStringConcat(arrayFilter(x -> x != '', [{named}]), ', ') AS off
FROM by_space AS b WHERE b.wrong ORDER BY {groups} LIMIT {SHOWN}"""
    return by_space + totals, by_space + examples


def _any_of(prefix: str, sums: tuple[str, ...]) -> str:
    return " OR ".join(f"{prefix}{name} != 0" for name in sums)


_PANE_START = f"toDateTime(intDiv(toUnixTimestamp64Milli(s.end), {PANE_MS}) * {PANE_MS // 1000}, 'UTC')"
_PANE = ("topic_id", "partition", "start")
_PANE_IN = (
    f"toUnixTimestamp64Milli(start::DateTime64(3, 'UTC')) + {PANE_MS} <= {bound('partition', 'topic_id', 'panes')}"
)
PANES, PANES_WRONG = _compared(
    _PANE,
    f"""
        SELECT * FROM (SELECT {", ".join(f"p.{name} AS {name}" for name in (*_PANE, *KEY, *SUMS))}
        FROM panes AS p FINAL
        WHERE {window("p.start")} AND p.late_offset < 0 AND (p.start, p.topic_id, p.partition, p.revision) IN (
            SELECT start, topic_id, partition, max(revision) FROM panes
            WHERE {window("start")} AND late_offset < 0 GROUP BY start, topic_id, partition))
        WHERE {_PANE_IN}""",
    f"""
        SELECT * FROM (SELECT s.topic_id AS topic_id, s.partition AS partition, {_PANE_START} AS start,
            {", ".join(f"s.{name} AS {name}" for name in KEY)},
                {", ".join(f"{of_span(name)} AS {name}" for name in SUMS)}
        FROM spans AS s FINAL WHERE {window("toStartOfMinute(s.end)")} AND s.timeliness = 'on_time')
        WHERE {_PANE_IN}""",
)

# Panes that are priced by another book than their spans, by the versions of both; `differ`: and at another cost.
PRICED = f"""
SELECT arrayStringConcat(told, ', ') AS told_by, arrayStringConcat(raw, ', ') AS raw_by, count() AS panes,
    countIf(told_cost != raw_cost OR told_unpriced != raw_unpriced) AS differ
FROM (
    SELECT topic_id, partition, start,
        arraySort(groupUniqArrayIf(price_version, side = 0)) AS told, sumIf(cost, side = 0) AS told_cost,
        arraySort(groupUniqArrayIf(price_version, side = 1)) AS raw, sumIf(cost, side = 1) AS raw_cost,
        sumIf(unpriced, side = 0) AS told_unpriced, sumIf(unpriced, side = 1) AS raw_unpriced
    FROM (
        SELECT {", ".join(f"p.{name} AS {name}" for name in _PANE)}, p.price_version AS price_version, p.cost AS cost,
            p.unpriced AS unpriced, 0 AS side
        FROM panes AS p FINAL
        WHERE {window("p.start")} AND p.late_offset < 0 AND (p.start, p.topic_id, p.partition, p.revision) IN (
            SELECT start, topic_id, partition, max(revision) FROM panes
            WHERE {window("start")} AND late_offset < 0 GROUP BY start, topic_id, partition)
        UNION ALL
        SELECT s.topic_id AS topic_id, s.partition AS partition, {_PANE_START} AS start,
            s.price_version AS price_version, {of_span("cost")} AS cost, {of_span("unpriced")} AS unpriced, 1 AS side
        FROM spans AS s FINAL WHERE {window("toStartOfMinute(s.end)")} AND s.timeliness = 'on_time')
    WHERE {_PANE_IN} AND (cost != 0 OR unpriced != 0) AND price_version != ''
    GROUP BY topic_id, partition, start)
WHERE notEmpty(told) AND notEmpty(raw) AND told != raw GROUP BY told_by, raw_by ORDER BY panes DESC LIMIT 100"""


def _rolled_up(table: str, settled: str) -> str:
    """What a roll-up of panes tells of a window, where that is `settled`."""
    columns = ", ".join(f"r.{name} AS {name}" for name in ("start", *KEY, *SUMS))
    return f"""
        SELECT * FROM (SELECT {columns} FROM {table} AS r FINAL WHERE {window("r.start")}) WHERE {settled}"""


_MINUTE_IN = f"toUnixTimestamp(start) + 60 <= {{settled:Int64}} AND start NOT IN ({UNSETTLED})"
MINUTES, MINUTES_WRONG = _compared(
    ("start",),
    _rolled_up("panes_1m", _MINUTE_IN),
    f"""
        SELECT * FROM (SELECT toStartOfMinute(s.end) AS start, {", ".join(f"s.{name} AS {name}" for name in KEY)},
            {", ".join(f"{of_span(name)} AS {name}" for name in SUMS)}
        FROM spans AS s FINAL WHERE {window("toStartOfMinute(s.end)")}) WHERE {_MINUTE_IN}""",
)

_HOUR_IN = "toUnixTimestamp(start) + 3600 <= {settled:Int64}"
HOURS, HOURS_WRONG = _compared(
    ("start",),
    _rolled_up("panes_1h", _HOUR_IN),
    f"""
        SELECT * FROM (SELECT toStartOfHour(m.start) AS start,
            {", ".join(f"m.{name} AS {name}" for name in (*KEY, *SUMS))}
        FROM panes_1m AS m FINAL WHERE {window("m.start")}) WHERE {_HOUR_IN}""",
)

# Hours of traces: those that are summed up, but for what is told of their traces and may not have been summed up again.
_TRACE_HOUR_IN = """start <= (SELECT max(start) FROM traces_1h_closed) AND start NOT IN (
    SELECT toStartOfHour(u.start) FROM traces AS u WHERE u.trace_id IN (
        SELECT trace_id FROM traces WHERE toUnixTimestamp64Milli(log_time) >= {traces_stored:Int64}))"""
_TRACE_HOUR = ", ".join((*trace_hours_sql.KEY, *trace_hours_sql.SUMS))
TRACE_HOURS, TRACE_HOURS_WRONG = _compared(
    ("start",),
    f"""
        SELECT * FROM (SELECT start, {_TRACE_HOUR} FROM traces_1h AS h FINAL WHERE {window("h.start")})
        WHERE {_TRACE_HOUR_IN}""",
    f"""
        SELECT * FROM (SELECT toStartOfHour(c.start) AS start, {_TRACE_HOUR}
        FROM trace_counts AS c WHERE {window("c.start")}) WHERE {_TRACE_HOUR_IN}""",
    trace_hours_sql.KEY,
    trace_hours_sql.SUMS,
    "false",
)
