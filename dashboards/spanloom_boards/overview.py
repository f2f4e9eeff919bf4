"""The board that says whether anything is wrong, and where."""

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board
from spanloom_boards.panels import Column, series, stat, table

_BAND = limits.band("CostUnusual")
_DAY = "t.start > $__toTime - toIntervalDay(1) AND t.start <= $__toTime"

COST_BAND = f"""WITH
    (
        SELECT groupArray(cost) FROM
        (
            SELECT sum(t.cost) / 1e9 AS cost FROM panes_1m AS t FINAL
            WHERE {_DAY}
              AND {sql.chosen()}
            GROUP BY t.start
        )
    ) AS usual,
    arrayReduce('quantileExactInclusive(0.5)', usual) AS middle,
    arrayReduce('quantileExactInclusive(0.5)', arrayMap(c -> abs(c - middle), usual)) AS spread,
    greatest(1.4826 * spread, 0.05 * middle) AS deviation
{
    sql.windows(
        f"{sql.per_minute(sql.DOLLARS)} AS cost",
        f"greatest(0, middle - {_BAND.width} * deviation) AS usually_at_least",
        f"middle + {_BAND.width} * deviation AS usually_at_most",
    )
}"""

BLOCK_SHARE = f"""WITH (
    SELECT {sql.share(sql.BLOCKED, sql.REQUESTS)} FROM panes_1m AS t FINAL
    WHERE {_DAY}
      AND {sql.chosen()}
) AS usual
{sql.windows(f"{sql.share(sql.BLOCKED, sql.REQUESTS)} AS blocked", "usual AS last_24_h")}"""

FRESHNESS = f"""SELECT
    (SELECT if(count() = 0, NULL, dateDiff('second', max(b.log_time), now64(3))) FROM batches AS b
        WHERE b.log_time > now() - toIntervalDay(2)
          AND {sql.chosen("environment", "service", of="b")}) AS newest_span,
    (SELECT if(count() = 0, NULL, dateDiff('second', max(t.log_time), now64(3))) FROM panes AS t
        WHERE t.start > now() - toIntervalDay(2)
          AND {sql.chosen()}) AS newest_window"""

FIRING = f"""SELECT countIf(a.severity = 'critical') AS critical, countIf(a.severity != 'critical') AS others
FROM alerts_now AS a
WHERE a.state = 'firing'
  AND {sql.chosen_alerts()}"""

BY_GROUP = sql.totals(
    f"{sql.REQUESTS} AS requests",
    f"{sql.quantile(0.95, where='t.request')} AS p95",
    f"{sql.share(sql.FAILED, sql.REQUESTS)} AS error_rate",
    f"{sql.share(sql.BLOCKED, sql.REQUESTS)} AS block_rate",
    f"sum({sql.TOKENS}) AS tokens",
    f"{sql.DOLLARS} AS dollars",
    "sum(t.unpriced) AS unpriced",
    by=("environment", "service", "tenant"),
    order="requests DESC",
)


def _alerts(rule: str) -> Column:
    return Column(rule, rule, "none", limits.firing(rule), decimals=0)


_TO_ALERTS = links.to("spanloom-alerts", "The alerts")


_NOW = Row(
    "Now",
    4,
    [
        stat(
            "Requests",
            "Requests that services took in, a second, over the whole time range. A request is a service-entry span: "
            "one with no parent, or a parent in another process, so a chat service and the agent it calls count one "
            "each.",
            "reqps",
            sql.totals(f"{sql.of_range(sql.REQUESTS)} AS requests", where="t.request"),
            links.traces(),
        ),
        stat(
            "p95",
            "One request in twenty took longer. Orange and red are the limits of RequestLatencyP95High and …Critical.",
            "ms",
            sql.totals(f"{sql.quantile(0.95)} AS p95", where="t.request"),
            links.traces("slow"),
            limits.LATENCY_MS,
        ),
        stat(
            "Failed",
            "Share of requests that ended in an error. Orange and red: RequestErrorsHigh and …Critical.",
            "percentunit",
            sql.totals(f"{sql.share(sql.FAILED, sql.REQUESTS)} AS failed"),
            links.traces("errors"),
            limits.ERRORS,
        ),
        stat(
            "Cost a minute",
            "Known cost, a minute, over the whole range; model calls without a price are not in it (see Cost and "
            "tokens). What is usual is learnt, so there is no fixed limit: beside it, how many alerts CostUnusual fire "
            "now.",
            "currencyUSD",
            sql.totals(f"60 * {sql.of_range(sql.DOLLARS)} AS cost", sql.firing("CostUnusual")),
            links.traces("costly"),
            columns=[_alerts("CostUnusual")],
            decimals=4,
        ),
        stat(
            "Tokens",
            "Tokens of all five buckets (input, cache read, cache write, output, reasoning), a second, over the whole "
            "range.",
            "suffix: /s",
            sql.totals(f"{sql.of_range(f'sum({sql.TOKENS})')} AS tokens"),
            links.traces("costly"),
            decimals=1,
        ),
        stat(
            "Blocked",
            "Share of requests that a safety check blocked. What is usual is learnt, so there is no fixed limit: "
            "beside it, how many alerts SafetyBlocksUnusual fire now.",
            "percentunit",
            sql.totals(f"{sql.share(sql.BLOCKED, sql.REQUESTS)} AS blocked", sql.firing("SafetyBlocksUnusual")),
            links.traces("blocked"),
            columns=[_alerts("SafetyBlocksUnusual")],
        ),
        stat(
            "Age of the data",
            "How old the newest stored message and the newest window are, of what the filters leave (a message has "
            "no tenant); whatever the time range. If both grow, nothing arrives: no service sends, or Kafka or the "
            "sink is down. If only windows grow, the processors are. Empty: nothing came for two days. Look at "
            "Pipeline before you trust any other panel.",
            "s",
            FRESHNESS,
            links.to("spanloom-pipeline", "The pipeline"),
            limits.at((60, "orange"), (300, "red")),
        ),
        stat(
            "Firing",
            "Alerts that fire now about what the filters leave, whatever the time range. An alert that is about all "
            "services or tenants, such as a budget, counts for each.",
            "none",
            FIRING,
            _TO_ALERTS,
            limits.ANY,
        ),
    ],
)

_LATENCY = Row(
    "Latency",
    8,
    [
        series(
            "Request latency",
            "p50, p95 and p99 of all requests the filters leave, from merged sketches (at most 0.6 % off). The lines "
            "are the limits of the p95 alerts. p50 up: everything is slow (a model, a database). Only p99 up: some "
            "requests are; click to see which.",
            "ms",
            sql.windows(*sql.quantiles(), where="t.request", having=sql.SPANS),
            links.traces("slow"),
            limits.LATENCY_MS,
        ),
        series(
            "p95 by service",
            "Which service is slow. A service that waits for another is slow with it: follow the one with the larger "
            "rise.",
            "ms",
            sql.windows(f"{sql.quantile(0.95)} AS p95", by=["service"], where="t.request"),
            links.of_series("service", "slow"),
            limits.LATENCY_MS,
            name="${__field.labels.service}",
        ),
    ],
)

_LOAD_AND_ERRORS = Row(
    "Load and errors",
    8,
    [
        series(
            "Requests a second",
            "By service. A drop to nothing is worse than a rise: callers cannot reach it, or its producer is silent "
            "(Hosts).",
            "reqps",
            sql.windows(f"{sql.per_second('sum(t.spans)')} AS requests", by=["service"], where="t.request"),
            links.of_series("service"),
            name="${__field.labels.service}",
        ),
        series(
            "Failed requests",
            "Share by service. The lines are the limits of RequestErrorsHigh and RequestErrorsCritical.",
            "percentunit",
            sql.windows(
                "sum(t.errors) / sum(t.spans) AS failed",
                by=["service"],
                where="t.request",
                having=sql.SPANS,
            ),
            links.of_series("service", "errors"),
            limits.ERRORS,
            name="${__field.labels.service}",
        ),
    ],
)

_COST_AND_SAFETY = Row(
    "Cost and safety",
    8,
    [
        series(
            "Cost a minute and its usual band",
            "Known dollars a minute. Dashed: the median minute of the 24 h before the range's right end ± "
            f"{_BAND.width:g} robust deviations, for what the filters leave. The alert CostUnusual learns such a band "
            "for each service.",
            "currencyUSD",
            COST_BAND,
            links.traces("costly"),
            dashed=["usually_at_least", "usually_at_most"],
        ),
        series(
            "Tokens a second",
            "By bucket. Input up with steady requests: prompts or contexts grew. Cache reads down: the provider's "
            "cache no longer hits, and the same tokens cost more.",
            "suffix: /s",
            sql.windows(*(f"{sql.per_second(f'sum(t.{b}_tokens)')} AS {b}" for b in sql.BUCKETS)),
            links.traces("costly"),
            stacked=True,
        ),
        series(
            "Blocked requests",
            "Share of requests that a safety check blocked; dashed: the same over the last 24 h. SafetyBlocksUnusual "
            "fires when so many are improbable: an attack, or a rule that became too strict.",
            "percentunit",
            BLOCK_SHARE,
            links.traces("blocked"),
            dashed=["last_24_h"],
        ),
    ],
)

_WHO = Row(
    "Who",
    9,
    [
        table(
            "By service, environment and tenant",
            "The whole range. Sort by a column to find who is hit; cost is a lower bound where calls are unpriced.",
            [
                Column("environment", "Environment"),
                Column("service", "Service"),
                Column("tenant", "Tenant"),
                Column("requests", "Requests", "short"),
                Column("p95", "p95", "ms", limits.LATENCY_MS),
                Column("error_rate", "Failed", "percentunit", limits.ERRORS),
                Column("block_rate", "Blocked", "percentunit"),
                Column("tokens", "Tokens", "short"),
                Column("dollars", "Cost", "currencyUSD"),
                Column("unpriced", "Unpriced calls", "short", limits.ANY),
            ],
            BY_GROUP,
            links.of_row("environment", "service", "tenant"),
        )
    ],
)


def overview() -> Board:
    """What to open first."""
    return board(
        "spanloom-overview",
        "Spanloom: overview",
        "Is anything wrong, and where? Latency against the SLO, load, errors, cost against its usual band, safety "
        "blocks, alerts.",
        [
            _NOW,
            _LATENCY,
            _LOAD_AND_ERRORS,
            _COST_AND_SAFETY,
            _WHO,
        ],
    )
