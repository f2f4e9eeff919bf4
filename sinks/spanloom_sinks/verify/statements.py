"""What verify asks the tables: each statement sums up one window of time or of offsets, and answers a few rows. Pure.

Times are epoch seconds, bounds are by partition of the cluster's own topic; what came from a topic that is no more is
at rest. `{name:Type}` are server-side parameters; names of columns are this package's own.
"""

from spanloom_schemas.panes import KEY

from spanloom_sinks.rollup_sql import SUM_OF_SPAN

SHOWN = 10
"""Examples of what differs."""
OTHER = " AND ".join(f"{name} = 'other'" for name in KEY if name != "request")
TRACE_SUMS = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("errors", "blocks", "unpriced", "cost"),
)

NOW = "SELECT toUnixTimestamp64Milli(now64(3)) AS now"
RETENTION = (
    "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}"
)
WRITTEN = "SELECT toUnixTimestamp64Milli(max(log_time)) AS panes FROM panes"

# Spans by minute (or `step` seconds): where the windows are cut.
DENSITY = """
SELECT intDiv(toUnixTimestamp(toStartOfMinute(end)), {step:UInt32}) * {step:UInt32} AS at, count() AS spans
FROM spans
WHERE toStartOfMinute(end) >= toDateTime({since:Int64}, 'UTC') AND toStartOfMinute(end) < toDateTime({until:Int64},
    'UTC')
GROUP BY at ORDER BY at
"""

# Messages by topic and partition.
PLACES = """
SELECT topic_id, partition, min(offset) AS first, max(offset) AS last, count() AS messages, sum(spans) AS spans,
    toUnixTimestamp64Milli(max(log_time)) AS newest
FROM batches
WHERE log_time >= fromUnixTimestamp64Milli({since:Int64}) AND log_time < fromUnixTimestamp64Milli({until:Int64})
GROUP BY topic_id, partition ORDER BY newest DESC LIMIT 1000
"""
# What stands in for the topics where they are not asked: log clocks of what is in the tables.
CLOCKS = """
SELECT c.partition AS partition, toUnixTimestamp64Milli(maxIf(c.log_clock, c.side = 0)) AS stored,
    toUnixTimestamp64Milli(maxIf(c.log_clock, c.side = 1)) AS told
FROM (
    SELECT partition, log_clock, 0 AS side FROM batches WHERE topic_id = {topic_id:String} AND spans > 0
    UNION ALL SELECT partition, log_clock, 1 AS side FROM panes WHERE topic_id = {topic_id:String}) AS c
GROUP BY c.partition
"""

_OF_MESSAGES = (
    "topic_id = {topic_id:String} AND partition = {partition:Int32} AND offset >= {first:Int64} AND offset < "
    "{stop:Int64}"
)

# Of a run of offsets: what batches say that each message held, and what spans have of it.
_MESSAGES = f"""
WITH
    of_batches AS (SELECT offset, max(spans) AS said, 0 AS found, 0 AS twice FROM batches WHERE {_OF_MESSAGES}
        GROUP BY offset),
    of_spans AS (
        SELECT offset, 0 AS said, uniqExact(position) AS found, count() - uniqExact(position) AS twice
        FROM spans WHERE {_OF_MESSAGES} GROUP BY offset),
    both AS (
        SELECT offset, max(m.said) AS said, max(m.found) AS found, max(m.twice) AS twice, max(m.batch) AS batch
        FROM (SELECT *, 1 AS batch FROM of_batches UNION ALL SELECT *, 0 AS batch FROM of_spans) AS m GROUP BY offset)
"""
MESSAGES = f"""{_MESSAGES}
SELECT
    countIf(b.batch) AS messages, sum(b.said) AS said, sum(b.found) AS found, sum(b.twice) AS twice,
    sumIf(b.said - b.found, b.batch AND b.said > b.found) AS fewer, sumIf(b.found - b.said, b.found > b.said) AS more
FROM both AS b
"""
FEWER = (
    f"{_MESSAGES} SELECT offset, said, found FROM both WHERE batch AND said > found ORDER BY offset LIMIT "
    f"{{limit:UInt32}}"
)
MORE = f"{_MESSAGES} SELECT offset, said, found FROM both WHERE found > said OR twice ORDER BY offset LIMIT {SHOWN}"
POSITIONS = f"SELECT offset, position FROM spans WHERE {_OF_MESSAGES} AND offset IN {{offsets:Array(Int64)}}"
KNOWN = """
SELECT DISTINCT trace_id, span_id FROM spans
WHERE trace_id IN {traces:Array(String)} AND toStartOfMinute(end) >= toDateTime({since:Int64}, 'UTC')
  AND toStartOfMinute(end) <= toDateTime({until:Int64}, 'UTC')
"""

# Offsets that neither a batch nor a dead letter stands for, as runs; the last one ends at `stop`.
GAPS = f"""
SELECT offset - skipped AS first, offset - 1 AS last
FROM (
    SELECT offset, offset - lagInFrame(offset, 1, {{first:Int64}} - 1)
        OVER (ORDER BY offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) - 1 AS skipped
    FROM (
        SELECT offset FROM batches WHERE {_OF_MESSAGES}
        UNION DISTINCT
        SELECT offset FROM dead_letters WHERE topic = 'llm.spans' AND stage = 'sink' AND {_OF_MESSAGES}
        UNION DISTINCT SELECT {{stop:Int64}} AS offset))
WHERE skipped > 0 ORDER BY first LIMIT {{limit:UInt32}}
"""

DEAD = """
SELECT topic, stage, reason, uniqExact(topic_id, partition, offset) AS messages
FROM dead_letters
WHERE log_time >= fromUnixTimestamp64Milli({since:Int64}) AND log_time < fromUnixTimestamp64Milli({until:Int64})
GROUP BY topic, stage, reason ORDER BY messages DESC LIMIT 50
"""


def bound(partition: str, topic_id: str, name: str) -> str:
    """The bound called `name` of a row's partition; of a topic that is no more, none."""
    known = f"transform({partition}, {{partitions:Array(Int32)}}, {{{name}:Array(Int64)}}, toInt64(-1))"
    return f"if({topic_id} = {{topic_id:String}}, {known}, {2**62})"


def window(column: str) -> str:
    """The condition that a time is in the window."""
    return f"{column} >= toDateTime({{since:Int64}}, 'UTC') AND {column} < toDateTime({{until:Int64}}, 'UTC')"


def of_span(name: str) -> str:
    """What a span adds to the sum called `name`."""
    return f"toInt64(ifNull({SUM_OF_SPAN.get(name, f's.{name}')}, 0))"


# Late spans that the roll-ups may not know yet make their minute a matter of the future.
UNSETTLED = f"""
SELECT toStartOfMinute(u.end) FROM spans AS u
WHERE {window("toStartOfMinute(u.end)")} AND u.timeliness != 'on_time'
    AND u.offset >= {bound("u.partition", "u.topic_id", "offsets")}
"""

# What came into the tables of a window, beside the comparisons.
CONTENTS = f"""
SELECT
    topic_id, partition, price_version, count() AS spans,
    countIf(timeliness = 'late') AS late, countIf(timeliness = 'future_dated') AS future_dated,
    countIf(cost_status = 'unpriced') AS unpriced, countIf(cost_status != 'none') AS calls,
    minIf(offset, cost_status != 'none') AS first, maxIf(offset, cost_status != 'none') AS last
FROM spans AS s FINAL WHERE {window("toStartOfMinute(s.end)")}
GROUP BY topic_id, partition, price_version LIMIT 1000
"""
# Rows of offsets that the topic did not have when it was asked, though their messages were older.
BEYOND = f"""
SELECT count() AS rows FROM spans AS s
WHERE {window("toStartOfMinute(s.end)")} AND s.topic_id = {{topic_id:String}}
  AND s.offset >= {bound("s.partition", "s.topic_id", "ends")}
      AND s.log_time < fromUnixTimestamp64Milli({{asked:Int64}})
"""
# Calls that several instrumentations traced and that count more than once: their spans met in no one process.
TWICE = f"""
SELECT
    count() AS calls, sum(found.spans - 1) AS more,
    groupArray(3)(concat('trace ', found.trace_id, ', answer ', found.response)) AS examples
FROM (
    SELECT s.trace_id AS trace_id, s.attributes['gen_ai.response.id'] AS response, uniqExact(s.span_id) AS spans
    FROM spans AS s FINAL
    PREWHERE s.kind IN ('llm', 'embedding', 'rerank')
    WHERE {window("toStartOfMinute(s.end)")}
      AND (s.input_tokens IS NOT NULL OR s.output_tokens IS NOT NULL) AND response != ''
    GROUP BY trace_id, response
    HAVING spans > 1 AND uniqExact(s.attributes['otel.scope.name']) > 1
) AS found
"""
OTHERS = f"SELECT sum(p.spans) AS spans FROM panes AS p FINAL WHERE {window('p.start')} AND late_offset < 0 AND {OTHER}"


# Late spans that no late row accounts for: alerts would not know them. A late row counts copies too.
LATE = f"""
SELECT sum(l.raw) AS raw, sum(l.told) AS told, sumIf(l.raw - l.told, l.raw > l.told) AS untold
FROM (
    SELECT topic_id, partition, offset, sum(x.raw) AS raw, sum(x.told) AS told
    FROM (
        SELECT s.topic_id AS topic_id, s.partition AS partition, s.offset AS offset, 1 AS raw, 0 AS told
        FROM spans AS s FINAL
        WHERE {window("toStartOfMinute(s.end)")} AND s.timeliness != 'on_time'
          AND s.offset < {bound("s.partition", "s.topic_id", "offsets")}
        UNION ALL
        SELECT p.topic_id, p.partition, p.late_offset, 0, p.spans FROM panes AS p FINAL
        WHERE {window("p.start")} AND p.late_offset >= 0) AS x
    GROUP BY topic_id, partition, offset) AS l
"""

_LATENCIES = ("duration", "ttft", "tpot")
_QUANTILES = (0.5, 0.95, 0.99)
_PLACE = ("start", "environment", "service", "kind", "request")
_SORTED = {
    "duration": "arraySort(groupArray(greatest(s.duration, 1)))",
    **{
        name: f"arraySort(groupArrayIf(greatest(assumeNotNull(s.{name}), 1), isNotNull(s.{name})))"
        for name in ("ttft", "tpot")
    },
}
_OFF = ", ".join(
    f"if(empty({name}), 0, abs(ifNull(sketchQuantile({q}, {name}_sketch), inf) / "
    f"{name}[toUInt32(greatest(1, ceil({q} * length({name}))))] - 1))"
    for name in _LATENCIES
    for q in _QUANTILES
)
# Exact quantiles of the raw rows against those of the sketches, by minute and service, kind and requests apart.
QUANTILES = f"""
SELECT count() AS compared, max(off) AS worst, countIf(off > {{bound:Float64}}) AS differ,
    arrayStringConcat(groupArrayIf({SHOWN})(
        toString(start) || ' ' || service || ' ' || kind || ': ' || toString(round(100 * off, 2)) || ' % off',
        off > {{bound:Float64}}), '\\n') AS shown
FROM (
    SELECT {", ".join(_PLACE)}, arrayMax([{_OFF}]) AS off
    FROM (
        SELECT toStartOfMinute(s.end) AS start, {", ".join(f"s.{name} AS {name}" for name in _PLACE[1:])},
            {", ".join(f"{_SORTED[name]} AS {name}" for name in _LATENCIES)}
        FROM spans AS s FINAL WHERE {window("toStartOfMinute(s.end)")} GROUP BY {", ".join(_PLACE)}) AS raw
    LEFT JOIN (
        SELECT {", ".join(f"m.{name} AS {name}" for name in _PLACE)},
            {", ".join(f"sumMap(m.{name}_sketch.index, m.{name}_sketch.count) AS {name}_sketch" for name in _LATENCIES)}
        FROM panes_1m AS m FINAL WHERE {window("m.start")} AND m.spans > 0 GROUP BY {", ".join(_PLACE)}) AS told
    USING ({", ".join(_PLACE)})
    WHERE toUnixTimestamp(start) + 60 <= {{settled:Int64}} AND start NOT IN ({UNSETTLED})
      AND start NOT IN (SELECT o.start FROM panes_1m AS o FINAL WHERE {window("o.start")} AND {OTHER}
          AND o.spans > 0))
"""

# Traces of a window against their summaries. One that also has spans outside it is a suspect until looked up whole.
_SUMMED = ", ".join(f"sum({of_span(name)}) AS {name}" for name in TRACE_SUMS)
_SAME = " AND ".join(f"raw.{name} = ifNull(told.{name}, 0)" for name in TRACE_SUMS)
_RAW_TRACES = f"""
SELECT s.trace_id AS trace_id, uniqExact(s.span_id) AS n, {_SUMMED}, toUnixTimestamp64Milli(max(s.log_clock)) AS seen,
    any(s.topic_id) AS topic_id, any(s.partition) AS partition,
    toUnixTimestamp(min(s.end)) AS first_end, toUnixTimestamp(max(s.end)) AS last_end
FROM spans AS s FINAL
"""
_SUMMARIES = f"""
    SELECT t.trace_id AS trace_id, count() AS rows, sum(t.spans) AS spans,
        {", ".join(f"sum(t.{name}) AS {name}" for name in TRACE_SUMS)}
    FROM traces AS t FINAL WHERE NOT t.superseded AND"""
_TRACES = f"""
    SELECT raw.trace_id AS trace_id, raw.first_end AS first_end, raw.last_end AS last_end,
        raw.n = told.spans AND told.rows = 1 AND {_SAME} AS same
    FROM ({_RAW_TRACES} WHERE {window("toStartOfMinute(s.end)")} GROUP BY s.trace_id) AS raw
    LEFT JOIN ({_SUMMARIES} t.start >= toDateTime64({{since:Int64}} - 600, 9, 'UTC')
          AND t.start < toDateTime64({{until:Int64}}, 9, 'UTC') GROUP BY t.trace_id) AS told
    ON raw.trace_id = told.trace_id
"""
TRACES = f"SELECT count() AS compared, countIf(same) AS same FROM ({_TRACES})"
SUSPECTS = (
    f"SELECT trace_id, first_end, last_end FROM ({_TRACES}) WHERE NOT same ORDER BY first_end LIMIT {{limit:UInt32}}"
)
# Where all spans of some traces end, by what is told of their segments.
EXTENTS = """
SELECT toUnixTimestamp(min(start)) AS first, toUnixTimestamp(max(greatest(end, log_clock::DateTime64(9,
    'UTC')))) AS last
FROM traces WHERE trace_id IN {ids:Array(String)}
"""
WHOLE = f"""
SELECT raw.trace_id AS trace_id, raw.n AS spans, told.spans AS told, told.rows AS rows,
    raw.n = told.spans AND {_SAME} AS adds_up, adds_up AND told.rows = 1 AS same,
        raw.seen <= {bound("raw.partition", "raw.topic_id", "traces")} AS settled
FROM ({_RAW_TRACES} WHERE s.trace_id IN {{ids:Array(String)}}
    AND toStartOfMinute(s.end) >= toDateTime({{since:Int64}}, 'UTC')
        AND toStartOfMinute(s.end) <= toDateTime({{until:Int64}}, 'UTC')
    GROUP BY s.trace_id) AS raw
LEFT JOIN ({_SUMMARIES} t.trace_id IN {{ids:Array(String)}} GROUP BY t.trace_id) AS told
ON raw.trace_id = told.trace_id
"""
TOLD = """
SELECT state, reason, amended, count() AS traces FROM trace_summaries
WHERE start >= toDateTime64({since:Int64}, 9, 'UTC') AND start < toDateTime64({until:Int64}, 9, 'UTC')
GROUP BY state, reason, amended LIMIT 100
"""

# Lives of producers that sent something in the range, whole: their counts are totals of a life.
_ALIVE = """
SELECT producer, epoch FROM batches
WHERE log_time >= fromUnixTimestamp64Milli({since:Int64}) AND log_time < fromUnixTimestamp64Milli({until:Int64})
"""
LIVES = (
    "SELECT count() AS messages, uniqExact(producer, epoch) AS lives FROM batches WHERE (producer, epoch) IN "
    f"({_ALIVE})"
)
_OF_LIVES = f"(producer, epoch) IN ({_ALIVE}) AND cityHash64(producer, epoch) % {{parts:UInt32}} = {{part:UInt32}}"
LEDGER = f"""
SELECT count() AS lives, sum(l.produced) AS produced, sum(l.stored) AS stored, sum(l.dropped_spans) AS dropped,
    sum(l.recovered) AS recovered, sum(l.duplicates) AS duplicates, sumMap(l.dropped) AS reasons,
    sumMap(l.shed) AS shed,
    countIf(l.tail != 'closed') AS tail_unknown, countIf(l.unsettled != 0 OR l.gaps != 0) AS suspects
FROM ledger AS l WHERE {_OF_LIVES}
"""
UNBALANCED = f"""
SELECT l.producer AS producer, l.epoch AS epoch, l.produced AS produced, l.stored AS stored,
    l.unsettled AS unsettled, l.gaps AS gaps,
    l.tail AS tail FROM ledger AS l WHERE {_OF_LIVES} AND (l.unsettled != 0 OR l.gaps != 0)
ORDER BY abs(l.unsettled) DESC LIMIT {{limit:UInt32}}
"""
# A life's messages: when the first and last came, its lowest number, and runs of numbers that are not there: first
# and last, and when the message after them came.
LIFE = """
SELECT
    toUnixTimestamp64Milli(min(came)) AS began, toUnixTimestamp64Milli(max(came)) AS ended, min(sequence) AS head,
    groupArrayIf(1000)((sequence - skipped, sequence - 1, toUnixTimestamp64Milli(came)), skipped > 0) AS holes
FROM (
    SELECT sequence, came,
        sequence - lagInFrame(sequence, 1, sequence - 1) OVER (ORDER BY sequence ROWS BETWEEN 1 PRECEDING
            AND CURRENT ROW) - 1 AS skipped
    FROM (
        SELECT sequence, min(log_time) AS came FROM batches
        WHERE producer = {producer:String} AND epoch = {epoch:Int64} GROUP BY sequence))
"""
GIVEN_UP = (
    "SELECT groupUniqArrayArray(given_up) AS given_up FROM batches WHERE producer = {producer:String} AND "
    "epoch = {epoch:Int64}"
)
