"""The board that says whether the other boards can be trusted."""

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board, source
from spanloom_boards.panels import Column, metric, series, stat, table, trace_id

_LIVES = f"$__timeFilter(t.last_sent)\n  AND {sql.chosen('environment', 'service')}"
LEDGER = f"""SELECT sum(t.produced) AS produced, sum(t.stored) AS stored, sum(t.dropped_spans) AS dropped,
    sum(t.recovered) AS recovered, sum(t.missing) AS missing,
    sumIf(t.unsettled, t.tail != 'closed') AS in_flight_or_lost
FROM ledger AS t
WHERE {_LIVES}"""
LIVES = f"""SELECT t.service AS service, t.host AS host, t.producer AS producer, t.produced AS produced,
    t.stored AS stored, t.dropped_spans AS dropped, t.missing AS missing, t.gaps AS gaps, t.duplicates AS duplicates,
    t.tail AS tail, t.last_sent AS last_sent
FROM ledger AS t
WHERE {_LIVES}
ORDER BY abs(t.unsettled) DESC, t.dropped_spans DESC, t.last_sent DESC
LIMIT 200"""
STORED = sql.windows(f"{sql.per_second('sum(t.spans)')} AS stored")
DELAY = sql.of_spans(
    "$__timeInterval(t.log_time) AS time",
    *(
        f"quantile({q})(toUnixTimestamp64Milli(t.log_time) - toUnixTimestamp64Milli(CAST(t.end, 'DateTime64(3, "
        f"\\'UTC\\')'))) AS p{q * 100:g}"
        for q in (0.5, 0.99)
    ),
    where="t.timeliness != 'future_dated'",
    rest="GROUP BY time\nORDER BY time",
)
LATE = sql.of_spans(
    "$__timeInterval(t.end) AS time",
    "toString(t.timeliness) AS timeliness",
    "count() AS spans",
    where="t.timeliness != 'on_time'",
    rest="GROUP BY time, timeliness\nORDER BY time, timeliness",
)
STATES = sql.of_traces(
    "t.state AS state",
    "t.reason AS reason",
    "t.amended AS amended",
    "count() AS traces",
    "sum(t.spans) AS spans",
    "max(t.start) AS latest",
    "argMax(t.trace_id, t.start) AS latest_trace",
    rest="GROUP BY state, reason, amended\nORDER BY traces DESC",
)
DEAD = """SELECT d.topic AS topic, d.stage AS stage, d.reason AS reason,
    uniqExact(d.topic_id, d.partition, d.offset) AS messages, max(d.at) AS latest, any(d.error) AS error
FROM dead_letters AS d
WHERE $__timeFilter(d.at)
GROUP BY topic, stage, reason
ORDER BY messages DESC"""
STORAGE = """SELECT p.table AS table, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes, count() AS parts
FROM system.parts AS p
WHERE p.active AND p.database = currentDatabase()
GROUP BY table
ORDER BY bytes DESC"""

_NOWHERE = links.to("spanloom-hosts", "The hosts")


_THE_LEDGER = Row(
    "The ledger: produced = stored + dropped − recovered + missing",
    5,
    [
        stat(
            "Spans of producers heard in this range",
            "Over the whole lives of producers that sent something last in the range. Missing is what producers that "
            "said farewell made and nobody has: it must be 0. Of the others, what is not stored is in flight, or lost "
            "with them.",
            "short",
            LEDGER,
            links.traces(),
            columns=[
                Column("dropped", "dropped", "short", limits.at((1, "orange"))),
                Column("missing", "missing", "short", limits.ANY),
            ],
            decimals=0,
        )
    ],
)

_BY_PRODUCER = Row(
    "By producer",
    9,
    [
        table(
            "Lives of producers",
            "Each process (and fork) with what it made, what is stored and what it dropped; those that do not balance "
            "come first. Gaps: messages that were numbered and never came. Tail unknown: it runs, or was killed.",
            [
                Column("service", "Service"),
                Column("host", "Host"),
                Column("producer", "Producer"),
                Column("produced", "Produced", "short"),
                Column("stored", "Stored", "short"),
                Column("dropped", "Dropped", "short", limits.ANY),
                Column("missing", "Missing", "short", limits.ANY),
                Column("gaps", "Gaps", "short", limits.ANY),
                Column("duplicates", "Sent twice", "short"),
                Column("tail", "Tail"),
                Column("last_sent", "Last heard", "dateTimeAsIso"),
            ],
            LIVES,
            links.of_row("service"),
        )
    ],
)

_ON_TIME = Row(
    "On time",
    8,
    [
        series(
            "Spans stored a second",
            "In the windows that the other boards read, late ones included. Steady services and a fall here: "
            "something waits.",
            "suffix: /s",
            STORED,
            links.traces(),
        ),
        series(
            "From a span's end to the broker",
            "p50 and p99 of log time minus the span's end: the producer's buffer, and the way to Kafka. "
            f"{sql.OF_SPANS}",
            "ms",
            DELAY,
            links.traces(),
            limits.at((3000, "orange")),
        ),
        series(
            "Late and future-dated spans",
            "Spans that came more than 3 s after their pane had ended, or were dated more than 5 s ahead. They are in "
            "all totals. Many: a host with a wrong clock (Hosts), or a producer that could not send. "
            f"{sql.OF_SPANS}",
            "short",
            LATE,
            links.traces("unsure"),
            name="${__field.labels.timeliness}",
            stacked=True,
        ),
    ],
)

_WHOLE = Row(
    "Whole",
    7,
    [
        table(
            "Traces by state",
            "Complete, or partial and why; amended: summed up again from its spans because more of them came later. "
            f"{sql.OF_TRACES}",
            [
                Column("state", "State"),
                Column("reason", "Why"),
                Column("amended", "Amended", "bool"),
                Column("traces", "Traces", "short"),
                Column("spans", "Spans", "short"),
                Column("latest", "Latest", "dateTimeAsIso"),
                trace_id("latest_trace", "Latest trace"),
            ],
            STATES,
            links.traces("unsure"),
        ),
        table(
            "Dead letters",
            "Messages that could not be read; they are in the table dead_letters, whole. None is usual. They have no "
            "traces.",
            [
                Column("topic", "Topic"),
                Column("stage", "Stage"),
                Column("reason", "Reason"),
                Column("messages", "Messages", "short", limits.ANY),
                Column("latest", "Latest", "dateTimeAsIso"),
                Column("error", "Error"),
            ],
            DEAD,
            _NOWHERE,
        ),
    ],
)

_LAG = Row(
    "Lag (Prometheus)",
    8,
    [
        metric(
            "Messages not read yet",
            "Of processors and sink, by topic. It rises while ClickHouse or a processor is away and falls afterwards: "
            "nothing is lost, all is late. Only a lag that keeps rising needs you: add a processor, or look at the "
            "sink's log.",
            "short",
            {
                "processor {{topic}}": "sum by (topic) (spanloom_lag)",
                "sink {{topic}}": "sum by (topic) (spanloom_sink_lag_messages)",
            },
        ),
        metric(
            "Freshness",
            "How far behind now the processors' emissions and the stored messages are. Pages are due within 5 s of a "
            "window's end.",
            "s",
            {
                "processor": "max(spanloom_freshness_seconds)",
                "sink {{topic}}": "max by (topic) (spanloom_sink_freshness_seconds)",
            },
            limits.at((5, "orange"), (60, "red")),
        ),
        metric(
            "What goes wrong, a minute",
            "Tried again, refused, overflowed, unreadable. A few retries are weather.",
            "short",
            {
                "sink retries": "60 * sum(rate(spanloom_sink_retries_total[$__rate_interval]))",
                "commits refused": '60 * sum(rate(spanloom_commits_total{outcome="refused"}[$__rate_interval]))',
                "overflow {{reason}}": "60 * sum by (reason) (rate(spanloom_overflow_spans_total[$__rate_interval]))",
                "dead letters {{reason}}": "60 * sum by (reason) (rate(spanloom_dead_letters_total[$__rate_interval]))",
            },
        ),
    ],
)

_RESOURCES = Row(
    "Resources",
    8,
    [
        table(
            "What the tables hold",
            "Rows and bytes on disk. More than 300 parts of one table: inserts outrun merges.",
            [
                Column("table", "Table"),
                Column("rows", "Rows", "short"),
                Column("bytes", "On disk", "bytes"),
                Column("parts", "Parts", "short", limits.at((300, "orange"))),
            ],
            STORAGE,
            _NOWHERE,
        ),
        metric(
            "CPU",
            "Cores that each process of Spanloom uses. A processor at 1 is full: add another.",
            "short",
            {"{{job}} {{instance}}": 'rate(process_cpu_seconds_total{job=~"spanloom.*"}[$__rate_interval])'},
            limits.at((0.9, "orange")),
        ),
        metric(
            "Memory",
            "Resident memory of each process of Spanloom.",
            "bytes",
            {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"spanloom.*"}'},
        ),
    ],
)


def pipeline() -> Board:
    """Spanloom itself: the ledger from ClickHouse, lag and resources from Prometheus."""
    return board(
        "spanloom-pipeline",
        "Spanloom: pipeline",
        "Can I trust the other boards? Whether every span that was made is stored, how late it is, and what the "
        "machinery uses. The last word is the command spanloom verify. Producers and their messages have no tenant, "
        "what cannot be read has no service either: those filters leave them alone.",
        [
            _THE_LEDGER,
            _BY_PRODUCER,
            _ON_TIME,
            _WHOLE,
            _LAG,
            _RESOURCES,
        ],
        [source("prometheus", "Prometheus", "prometheus")],
    )
