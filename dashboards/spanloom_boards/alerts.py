"""The board that says what fires, since when, and what about."""

from spanloom_boards import limits, links
from spanloom_boards.board import DATASOURCE, Board, Row, board
from spanloom_boards.panels import Column, series, stat, table, timeline, trace_id

_GROUP = "arrayStringConcat(arrayMap((k, v) -> concat(k, '=', v), mapKeys(a.labels), mapValues(a.labels)), ', ')"
_TOUCHES = "a.since <= $__toTime AND ifNull(a.resolved, now64(3)) >= $__fromTime"

NOW = """SELECT countIf(a.state = 'firing' AND a.severity = 'critical') AS critical,
    countIf(a.state = 'firing' AND a.severity != 'critical') AS others, countIf(a.state = 'pending') AS pending
FROM alerts_now AS a"""
STATES = f"""SELECT assumeNotNull(transition.1) AS time, alert, max(transition.2) AS state
FROM (
    SELECT concat(a.rule, ' ', {_GROUP}) AS alert, arrayJoin(arrayFilter(x -> isNotNull(x.1), [
        (CAST(a.since, 'Nullable(DateTime64(3, \\'UTC\\'))'), 1), (a.fired, 2), (a.resolved, 0)])) AS transition
    FROM alerts_now AS a
    WHERE {_TOUCHES}
)
GROUP BY time, alert
ORDER BY time, alert"""
FIRING = f"""SELECT a.severity AS severity, a.rule AS rule, {_GROUP} AS about, a.summary AS summary,
    a.state AS state, a.since AS since, a.value AS value, a.threshold AS threshold, a.unit AS unit,
    a.partial AS partial, a.trace_ids[1] AS worst
FROM alerts_now AS a
WHERE a.state != 'resolved'
ORDER BY a.state = 'firing' DESC, a.severity = 'critical' DESC, a.since DESC"""
HISTORY = f"""SELECT a.fired AS fired, a.resolved AS resolved,
    dateDiff('second', a.fired, ifNull(a.resolved, now64(3))) AS lasted_s, a.severity AS severity,
    a.rule AS rule, {_GROUP} AS about, a.summary AS summary, a.trace_ids[1] AS worst
FROM alerts_now AS a
WHERE a.fired IS NOT NULL AND {_TOUCHES}
ORDER BY fired DESC
LIMIT 500"""
PER_RULE = """WITH assumeNotNull(a.fired) AS began
SELECT $__timeInterval(began) AS time, a.rule AS rule, count() AS fired
FROM alerts_now AS a
WHERE a.fired IS NOT NULL AND a.fired >= $__fromTime AND a.fired <= $__toTime
GROUP BY time, rule
ORDER BY time, rule"""
NOISE = f"""SELECT a.rule AS rule, count() AS fired,
    avg(dateDiff('second', a.fired, ifNull(a.resolved, now64(3)))) AS mean_s,
    countIf(a.resolved < a.fired + toIntervalMinute(5)) AS brief
FROM alerts_now AS a
WHERE a.fired IS NOT NULL AND {_TOUCHES}
GROUP BY rule
ORDER BY fired DESC"""

_WORST = trace_id("worst", "Worst trace")
_ROW = links.to(links.TRACES, "The worst trace", trace_id="${__data.fields.worst}")


_NOW = Row(
    "Now",
    4,
    [
        stat(
            "Now",
            "Alerts that fire now, critical ones and others, and those that are pending: true, but not for long "
            "enough.",
            "none",
            NOW,
            links.to(links.TRACES, "The latest traces"),
            limits.ANY,
        )
    ],
)

_TIMELINE = Row(
    "Timeline",
    9,
    [
        timeline(
            "Alerts over time",
            "A band for each alert: pending, firing, over. What began first is nearer to the cause than what followed.",
            STATES,
            links.to(links.TRACES, "The traces of that time"),
            {"0": ("over", "green"), "1": ("pending", "yellow"), "2": ("firing", "red")},
            "${__field.labels.alert}",
        )
    ],
)

_FIRING_AND_PENDING = Row(
    "Firing and pending",
    8,
    [
        table(
            "Firing and pending",
            "Whatever the time range. A click on the trace opens the worst of the traces that caused it. Partial: a "
            "partition of Kafka stood still, so the verdict may miss spans.",
            [
                Column("severity", "Severity"),
                Column("rule", "Rule"),
                Column("about", "About"),
                Column("summary", "What"),
                Column("state", "State"),
                Column("since", "Since", "dateTimeAsIso"),
                Column("value", "Value", "short"),
                Column("threshold", "Threshold", "short"),
                Column("unit", "Unit"),
                Column("partial", "Partial", "bool"),
                _WORST,
            ],
            FIRING,
            _ROW,
        )
    ],
)

_HISTORY = Row(
    "History",
    9,
    [
        table(
            "Fired in this range",
            "When, for how long, about what, and a trace that shows it.",
            [
                Column("fired", "Fired", "dateTimeAsIso"),
                Column("resolved", "Over", "dateTimeAsIso"),
                Column("lasted_s", "Lasted", "s"),
                Column("severity", "Severity"),
                Column("rule", "Rule"),
                Column("about", "About"),
                Column("summary", "What"),
                _WORST,
            ],
            HISTORY,
            _ROW,
        )
    ],
)

_WHICH_RULES = Row(
    "Which rules",
    8,
    [
        series(
            "Fired by rule",
            "How often each rule fired.",
            "short",
            PER_RULE,
            links.to(links.TRACES, "The traces of that time"),
            name="${__field.labels.rule}",
            stacked=True,
        ),
        table(
            "Noise",
            "How often each rule fired, how long it lasted on average, and how often it was over within five minutes: "
            "those rules want a longer for, or another limit.",
            [
                Column("rule", "Rule"),
                Column("fired", "Fired", "short"),
                Column("mean_s", "Lasted", "s"),
                Column("brief", "Over within 5 min", "short", limits.ANY),
            ],
            NOISE,
            links.to(links.TRACES, "The traces of that time"),
        ),
    ],
)


def alerts() -> Board:
    """Spanloom's own alerts, as `llm.alerts` has them."""
    return board(
        "spanloom-alerts",
        "Spanloom: alerts",
        "What fires, since when, and what was it about? Each alert carries the traces that caused it.",
        [
            _NOW,
            _TIMELINE,
            _FIRING_AND_PENDING,
            _HISTORY,
            _WHICH_RULES,
        ],
        [DATASOURCE],
        since="now-24h",
        filtered=False,
        annotated=False,
    )
