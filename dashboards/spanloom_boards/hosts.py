"""The board that says which machine is silent, drops spans, has a wrong clock, or an idle GPU."""

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
_GPU = "${__field.labels.host} ${__field.labels.gpu_id}"
_MEAN = "sum(t.sum) / nullIf(sum(t.count), 0)"


def _sampled(quantity: str, column: str) -> str:
    return (
        f"SELECT $__timeInterval(t.start) AS time, t.host AS host, t.gpu_id AS gpu_id, {column}\n"
        f"FROM samples AS t FINAL\nWHERE $__timeFilter(t.start)\n  AND {sql.chosen('environment')}\n"
        f"  AND t.quantity = '{quantity}'\nGROUP BY time, host, gpu_id\nORDER BY time, host, gpu_id"
    )


GPUS = f"""SELECT t.host AS host, t.gpu_id AS gpu_id, argMax(t.gpu_model, t.start) AS model,
    sumIf(t.sum, t.quantity = 'gpu_utilization') / 1e6 / nullIf(sumIf(t.count, t.quantity = 'gpu_utilization'), 0)
        AS busy,
    argMaxIf(t.highest, t.start, t.quantity = 'gpu_memory_used') AS memory,
    argMaxIf(t.highest, t.start, t.quantity = 'gpu_memory_total') AS of_memory,
    maxIf(t.highest, t.quantity = 'gpu_temperature') AS hottest,
    sumIf(t.sum, t.quantity = 'gpu_power') / 1e3 / nullIf(sumIf(t.count, t.quantity = 'gpu_power'), 0) AS watts,
    argMaxIf(t.highest, t.start, t.quantity = 'gpu_processes') AS processes, sum(t.failed) AS unanswered
FROM samples AS t FINAL
WHERE $__timeFilter(t.start)
  AND {sql.chosen("environment")}
  AND t.gpu_id != ''
GROUP BY host, gpu_id
ORDER BY busy
LIMIT 200"""


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
            links.of_row("environment", "service", "host"),
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
            _over_time(f"{sql.rows_per_second('sum(t.spans)')} AS spans"),
            links.of_series("host"),
            name=_HOST,
        ),
        series(
            "Request latency",
            f"p95 by host. One slow host among equal ones is the host's fault, not the model's. {sql.OF_SPANS}",
            "ms",
            LATENCY,
            links.of_series("host", "slow"),
            limits.LATENCY_MS,
            name=_HOST,
        ),
        series(
            "Clock and way to Kafka",
            "Median of log time minus send time. Negative: the host's clock is ahead. A slow drift is a host without "
            "NTP.",
            "ms",
            _over_time(f"median({_SKEW_MS}) AS skew"),
            links.of_series("host"),
            limits.at((5000, "red")),
            name=_HOST,
        ),
    ],
)

# A machine with GPUs serves the models of other hosts' services.
_SLOW = links.traces("slow", "The slow traces of that time")

_MACHINES = Row(
    "Machines",
    8,
    [
        series(
            "GPU utilization",
            "Share of the time in which a kernel ran, by host and GPU. Low while requests wait: the bottleneck is "
            "before the GPU. The line is the limit of GpuUnderused. From spanloom probe.",
            "percentunit",
            _sampled("gpu_utilization", f"{_MEAN} / 1e6 AS busy"),
            _SLOW,
            limits.GPU_BUSY,
            name=_GPU,
        ),
        series(
            "GPU memory",
            "In use at most, by host and GPU, with what the driver keeps for itself.",
            "bytes",
            _sampled("gpu_memory_used", "max(t.highest) AS memory"),
            _SLOW,
            name=_GPU,
        ),
        series(
            "CPU utilization",
            "Of all cores of a host.",
            "percentunit",
            _sampled("cpu_utilization", f"{_MEAN} / 1e6 AS busy"),
            _SLOW,
            name=_HOST,
        ),
    ],
)

_GPUS = Row(
    "GPUs",
    8,
    [
        table(
            "GPUs",
            "In the range, the least busy first. Unanswered: readings that a GPU did not answer, because it was lost "
            "or does not support them (utilization under MIG).",
            [
                Column("host", "Host"),
                Column("gpu_id", "GPU"),
                Column("model", "Model"),
                Column("busy", "Utilization", "percentunit", limits.GPU_BUSY),
                Column("memory", "Memory in use", "bytes"),
                Column("of_memory", "Memory", "bytes"),
                Column("hottest", "Hottest", "celsius"),
                Column("watts", "Power", "watt"),
                Column("processes", "Processes", "short"),
                Column("unanswered", "Unanswered", "short", limits.ANY),
            ],
            GPUS,
            _SLOW,
        )
    ],
)

REASONS = {
    "queue_full": "Kafka was slow or away for longer than the buffer has room",
    "timeout": "Kafka did not answer in time",
    "unreachable": "there was no way to Kafka",
    "rejected": "Kafka refused it: rights, or a topic that is not there",
    "too_large": "one span beyond what a message may hold",
    "encode": "a span that cannot be written down, a defect",
    "shutdown": "the process ended before it could send",
    "disabled": "SPANLOOM_DISABLED is set",
}
"""Why a producer drops a span."""
_WHY = "; ".join(f"{reason}: {why}" for reason, why in REASONS.items()) + "."

_LOST_ON_THE_WAY = Row(
    "Lost on the way",
    7,
    [
        table(
            "Spans that producers dropped",
            f"Over the whole lives of producers that sent something last in the range. {_WHY}",
            [
                Column("host", "Host"),
                Column("service", "Service"),
                Column("reason", "Reason"),
                Column("spans", "Spans", "short", limits.ANY),
            ],
            DROPPED,
            links.of_row("service", "host"),
        )
    ],
)


def hosts() -> Board:
    """Producers by machine, and the machines themselves where a probe runs."""
    return board(
        "spanloom-hosts",
        "Spanloom: hosts",
        "Which machine is silent, drops spans, has a wrong clock, or an idle GPU? What producers say of themselves, "
        "and what spanloom probe reads of machines and GPUs where it runs. Messages have no tenant, readings of "
        "machines no service either: those filters leave them alone.",
        [
            _PRODUCERS,
            _OVER_TIME,
            _MACHINES,
            _GPUS,
            _LOST_ON_THE_WAY,
        ],
    )
