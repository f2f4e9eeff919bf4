"""The board that says what makes requests slow."""

from typing import Any

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board
from spanloom_boards.panels import PROMPT, Column, Panel, bars, heatmap, series, table, trace_id

BOUNDS_MS = [base * 10**power for power in range(5) for base in (1, 2, 5)]
"""Upper bounds of the heatmap's rows: 1 ms to 50 s; what took longer is in the last row."""


def _row(above: float, upto: float | None) -> str:
    """How many requests took more than `above` and at most `upto` ms, to a bucket of the sketch (1.1 %)."""
    value = "sketchValue(bucket) / 1e6"
    inside = f"{value} > {above:g}" + (f" AND {value} <= {upto:g}" if upto else "")
    return f"sumIf(requests, {inside}) AS `{f'{upto:g}' if upto else '+Inf'}`"


_BUCKETS = sql.windows(
    "sum(count) AS requests",
    by=["bucket AS bucket"],
    where="t.request",
    each="t.duration_sketch.index AS bucket, t.duration_sketch.count AS count",
)
_ROWS = ",\n    ".join(_row(a, b) for a, b in zip([0, *BOUNDS_MS], [*BOUNDS_MS, None], strict=True))
HEATMAP = f"""SELECT time,
    {_ROWS}
FROM (
{_BUCKETS}
)
GROUP BY time
ORDER BY time"""

_OF_STAGES = sql.sums_of_traces(
    "stage.kind AS stage",
    "sum(stage.self) / 1e6 / any(traces) AS mean_ms",
    rest="GROUP BY stage\nORDER BY mean_ms DESC",
    each="t.stages AS stage",
)
STAGES = f"WITH (\n{sql.sums_of_traces('sum(t.traces)')}) AS traces\n{_OF_STAGES}"

PROMPTS = sql.totals(
    "sum(t.spans) AS calls",
    *sql.quantiles()[:2],
    f"{sql.quantile(0.95, 'ttft')} AS ttft_p95",
    "sum(t.input_tokens + t.cache_read_tokens + t.cache_write_tokens) / sum(t.spans) AS tokens_in",
    by=("prompt_id", "prompt_version", "service"),
    where="t.kind = 'llm' AND t.prompt_id != ''",
    having="calls > 0",
    order="p95 DESC",
)

DOCUMENTS = sql.of_spans(
    "document.id AS document",
    "t.service AS service",
    "count() AS retrievals",
    "avg(t.duration) / 1e6 AS mean_ms",
    "max(t.duration) / 1e6 AS max_ms",
    "argMax(t.trace_id, t.duration) AS slowest",
    where="t.kind = 'retrieval'",
    rest="GROUP BY document, service\nORDER BY mean_ms DESC\nLIMIT 100",
    each="t.documents AS document",
)


_WHERE_THE_TIME_GOES = Row(
    "Where the time goes",
    9,
    [
        bars(
            "Time of a request by stage",
            "Mean time of a trace that each stage spent itself, without what it waited for below it. The longest bar "
            f"is where to look. {sql.OF_SUMS}",
            "ms",
            STAGES,
            links.traces("slow"),
        ),
        series(
            "p95 by stage",
            "p95 of the spans of each stage, with what they waited for below them. The stage that rose with the "
            "requests is the cause; the others above it only wait.",
            "ms",
            sql.windows(f"{sql.quantile(0.95)} AS p95", by=["kind"]),
            links.traces("slow"),
            name="${__field.labels.kind}",
        ),
    ],
)

_HOW_IT_IS_SPREAD = Row(
    "How it is spread",
    9,
    [
        heatmap(
            "Requests by latency",
            "How many requests took how long; each row ends at its bound. Two bands are two populations, such as "
            "cached and not: a mean would show neither. From sketches.",
            "ms",
            HEATMAP,
            links.traces("slow"),
        ),
        series(
            "Request latency",
            "p50, p95, p99 of requests; the line is the limit of RequestLatencyP50High for p50.",
            "ms",
            sql.windows(*sql.quantiles(), where="t.request", having=sql.SPANS),
            links.traces("slow"),
            limits.MEDIAN_MS,
        ),
    ],
)


def _by_model(
    title: str,
    about: str,
    where: str,
    of: str = "duration",
    view: str = "slow",
    thresholds: dict[str, Any] = limits.NONE,
) -> Panel:
    """p95 of a latency of model calls, a line a model."""
    query = sql.windows(f"{sql.quantile(0.95, of)} AS p95", by=["model"], where=where)
    return series(title, about, "ms", query, links.of_series("model", view), thresholds, name="${__field.labels.model}")


_MODEL_CALLS = Row(
    "Model calls",
    8,
    [
        _by_model(
            "Time to first token",
            "p95 by model: what a person waits before anything shows. The line is the limit of TimeToFirstTokenHigh. "
            "Up with steady prompts: the provider queues.",
            "notEmpty(t.ttft_sketch)",
            "ttft",
            "first_token",
            limits.TTFT_MS,
        ),
        _by_model(
            "Time per output token",
            "p95 by model, after the first token: how fast the answer flows. The line is the limit of "
            "TimePerOutputTokenHigh.",
            "notEmpty(t.tpot_sketch)",
            "tpot",
            thresholds=limits.TPOT_MS,
        ),
        _by_model(
            "Model call latency",
            "p95 by model of whole calls. Up while both others are steady: answers became longer.",
            "t.kind = 'llm'",
        ),
    ],
)

_THE_SLOWEST = Row(
    "The slowest",
    9,
    [
        table(
            "Slowest prompts",
            "Model calls by prompt and version, the slowest p95 first. Compare versions: a new one that is slower "
            "mostly sends more.",
            [
                *PROMPT,
                Column("service", "Service"),
                Column("calls", "Calls", "short"),
                Column("p50", "p50", "ms"),
                Column("p95", "p95", "ms"),
                Column("ttft_p95", "First token, p95", "ms", limits.TTFT_MS),
                Column("tokens_in", "Tokens in a call", "short"),
            ],
            PROMPTS,
            links.of_row("service", "prompt_version", view="slow", prompt="prompt_id"),
        ),
        table(
            "Slowest documents",
            "Documents by the mean duration of the retrievals that returned them: a slow shard or a huge document "
            f"shows here. {sql.OF_SPANS}",
            [
                Column("document", "Document"),
                Column("service", "Service"),
                Column("retrievals", "Retrievals", "short"),
                Column("mean_ms", "Mean", "ms"),
                Column("max_ms", "Slowest", "ms"),
                trace_id("slowest", "Slowest trace"),
            ],
            DOCUMENTS,
            links.of_row("service", view="slow"),
        ),
    ],
)


def latency() -> Board:
    """Which stage, which prompt, which document."""
    return board(
        "spanloom-latency",
        "Spanloom: latency",
        "What makes requests slow? By stage, by model, by prompt, by document.",
        [
            _WHERE_THE_TIME_GOES,
            _HOW_IT_IS_SPREAD,
            _MODEL_CALLS,
            _THE_SLOWEST,
        ],
    )
