"""The board that says which machine is silent, drops spans, or has a wrong clock."""

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board
from spanloom_boards.panels import Column, series, table

# A message sent twice counts once.
_MESSAGES = """(
    SELECT b.producer AS producer, b.epoch AS epoch, b.sequence AS sequence, any(b.environment) AS environment,
        any(b.service) AS service, any(b.host) AS host, any(b.version) AS version, any(b.sdk) AS sdk,
        any(b.spans) AS spans, min(b.sent) AS sent, min(b.log_time) AS came
    FROM batches AS b
    WHERE $__timeFilter(b.log_time)
    GROUP BY producer, epoch, sequence
) AS t"""
_CHOSEN = sql.chosen("environment", "service")
_SKEW_MS = "toUnixTimestamp64Milli(t.came) - toUnixTimestamp64Milli(t.sent)"


def _over_time(column: str) -> str:
    return (
        f"SELECT $__timeInterval(t.came) AS time, t.host AS host, {column}\nFROM {_MESSAGES}\nWHERE {_CHOSEN}\n"
        "GROUP BY time, host\nORDER BY time, host"
    )


PRODUCERS = f"""SELECT t.host AS host, t.service AS service, t.environment AS environment,
    argMax(t.version, t.came) AS version, argMax(t.sdk, t.came) AS sdk, uniqExact(t.producer, t.epoch) AS lives,
    dateDiff('second', max(t.came), now64(3)) AS silent_s, sum(t.spans) AS spans, median({_SKEW_MS}) AS skew_ms
FROM {_MESSAGES}
WHERE {_CHOSEN}
GROUP BY host, service, environment
ORDER BY silent_s DESC
LIMIT 200"""
_ENDED = f"{_CHOSEN}\n  AND $__timeFilter(t.last_sent)"
DROPPED = f"""SELECT t.host AS host, t.service AS service, reason, sum(dropped) AS spans
FROM ledger AS t ARRAY JOIN mapKeys(t.dropped) AS reason, mapValues(t.dropped) AS dropped
WHERE {_ENDED}
GROUP BY host, service, reason
ORDER BY spans DESC
LIMIT 100"""
LATENCY = sql.of_spans(
    "$__timeInterval(t.end) AS time",
    "t.host AS host",
    "quantile(0.95)(t.duration) / 1e6 AS p95",
    where="t.request",
    rest="GROUP BY time, host\nORDER BY time, host",
)
_HOST = "${__field.labels.host}"


_PRODUCERS = Row(
    "Producers",
    10,
    [
        table(
            "Hosts and services",
            "Who sent spans in the range, the longest silent first. Lives: processes and forks; many of one host are "
            "restarts. Clock: log time minus send time, with the way to Kafka in it; beyond 5 s the host's clock is "
            "wrong, and its spans count as late or future-dated.",
            [
                Column("host", "Host"),
                Column("service", "Service"),
                Column("environment", "Environment"),
                Column("version", "Version"),
                Column("sdk", "Producer's version"),
                Column("lives", "Lives", "short"),
                Column("silent_s", "Silent for", "s", limits.of_rules_window("NoData")),
                Column("spans", "Spans", "short"),
                Column("skew_ms", "Clock", "ms", limits.at((5000, "red"))),
            ],
            PRODUCERS,
            links.of_row("environment", "service"),
        )
    ],
)

_OVER_TIME = Row(
    "Over time",
    8,
    [
        series(
            "Spans a second",
            "By host. One host that falls behind the others of its service gets less traffic, or drops spans.",
            "suffix: /s",
            _over_time("sum(t.spans) / $__interval_s AS spans"),
            links.traces(),
            name=_HOST,
        ),
        series(
            "Request latency",
            "p95 by host. One slow host among equal ones is the host's fault, not the model's. From raw spans, which "
            "are kept for a week.",
            "ms",
            LATENCY,
            links.traces("slow"),
            limits.LATENCY_MS,
            name=_HOST,
        ),
        series(
            "Clock and way to Kafka",
            "Median of log time minus send time. Negative: the host's clock is ahead. A slow drift is a host without "
            "NTP.",
            "ms",
            _over_time(f"median({_SKEW_MS}) AS skew"),
            links.traces("unsure"),
            limits.at((5000, "red")),
            name=_HOST,
        ),
    ],
)

_LOST_ON_THE_WAY = Row(
    "Lost on the way",
    7,
    [
        table(
            "Spans that producers dropped",
            "By reason, over the whole lives of producers that sent something last in the range. buffer_full: Kafka "
            "was slow or away, or the buffer is too small.",
            [
                Column("host", "Host"),
                Column("service", "Service"),
                Column("reason", "Reason"),
                Column("spans", "Spans", "short", limits.ANY),
            ],
            DROPPED,
            links.of_row("service"),
        )
    ],
)


def hosts() -> Board:
    """Producers by machine. There are no panels of GPUs: nothing collects them yet."""
    return board(
        "spanloom-hosts",
        "Spanloom: hosts",
        "Which machine is silent, drops spans, or has a wrong clock? What producers say of themselves; there is no "
        "source of GPU metrics yet.",
        [
            _PRODUCERS,
            _OVER_TIME,
            _LOST_ON_THE_WAY,
        ],
    )
