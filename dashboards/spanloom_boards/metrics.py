"""The board for who has Prometheus and no ClickHouse: what `/metrics` can say."""

from spanloom_boards import limits
from spanloom_boards.board import Board, Row, Variable, board, source
from spanloom_boards.panels import PROMETHEUS, metric

_MODEL = '{model=~"$model"}'
_CALLS = f"sum(rate(llm_requests_total{_MODEL}[$__rate_interval]))"
_FAILED = 'sum(rate(llm_requests_total{model=~"$model", status="error"}[$__rate_interval]))'


def _quantile(q: float) -> str:
    return f"histogram_quantile({q}, sum by (le) (rate(llm_request_latency_seconds_bucket{_MODEL}[$__rate_interval])))"


_MODELS = "label_values(llm_requests_total, model)"
MODEL: Variable = {
    "type": "query", "name": "model", "label": "Model", "datasource": PROMETHEUS,
    "query": {"query": _MODELS, "refId": "model", "qryType": 1}, "refresh": 2, "regex": "", "sort": 1, "hide": 0,
    "multi": True, "includeAll": True, "allValue": ".*", "options": [],
    "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
}  # fmt: skip


_MODEL_CALLS = Row(
    "Model calls",
    8,
    [
        metric(
            "Calls a second",
            "Model calls by model.",
            "reqps",
            {"{{model}}": f"sum by (model) (rate(llm_requests_total{_MODEL}[$__rate_interval]))"},
        ),
        metric(
            "Failed calls",
            "Share of model calls that failed. The lines are the limits of RequestErrorsHigh and …Critical, which are "
            "about requests.",
            "percentunit",
            {"failed": f"{_FAILED} / {_CALLS}"},
            limits.ERRORS,
        ),
        metric(
            "Call latency",
            "p50, p95, p99 of model calls, from buckets: as exact as the buckets are wide. Above 82 s they say 82 s.",
            "s",
            {"p50": _quantile(0.5), "p95": _quantile(0.95), "p99": _quantile(0.99)},
            limits.of_rules("RequestLatencyP95High", "RequestLatencyP95Critical"),
        ),
    ],
)

_COST_AND_SAFETY = Row(
    "Cost and safety",
    8,
    [
        metric(
            "Cost a minute",
            "Known dollars a minute by model; unpriced spans are beside.",
            "currencyUSD",
            {"{{model}}": f"60 * sum by (model) (rate(llm_cost_dollars_total{_MODEL}[$__rate_interval]))"},
        ),
        metric(
            "Tokens generated a second",
            "Output and reasoning tokens by model.",
            "suffix: /s",
            {"{{model}}": f"sum by (model) (rate(llm_tokens_generated_total{_MODEL}[$__rate_interval]))"},
        ),
        metric(
            "Safety blocks a minute",
            "Blocked spans by reason.",
            "short",
            {"{{reason}}": "60 * sum by (reason) (rate(llm_safety_blocks_total[$__rate_interval]))"},
        ),
        metric(
            "Unpriced spans a minute",
            "Spans that used tokens of a model without a price: their cost is unknown, not 0.",
            "short",
            {"unpriced": "60 * sum(rate(spanloom_unpriced_spans_total[$__rate_interval]))"},
        ),
    ],
)

_GPUS = Row(
    "GPUs",
    8,
    [
        metric(
            "GPU utilization",
            "Time in which a kernel ran, by host and GPU, as it was read last. From spanloom probe.",
            "percent",
            {"{{instance}} {{gpu_id}}": "avg by (instance, gpu_id) (llm_gpu_utilization_percent)"},
        ),
        metric(
            "GPU memory in use",
            "By host and GPU, with what the driver keeps for itself.",
            "bytes",
            {"{{instance}} {{gpu_id}}": "max by (instance, gpu_id) (llm_gpu_memory_used_bytes)"},
        ),
    ],
)

_SPANLOOM_ITSELF = Row(
    "Spanloom itself",
    8,
    [
        metric(
            "Spans read a second",
            "By all processors. Late and future-dated ones are in no pane.",
            "suffix: /s",
            {
                "read": "sum(rate(spanloom_spans_total[$__rate_interval]))",
                "late": "sum(rate(spanloom_late_spans_total[$__rate_interval]))",
                "future-dated": "sum(rate(spanloom_future_dated_spans_total[$__rate_interval]))",
            },
        ),
        metric(
            "Lag",
            "Messages not read yet, by topic.",
            "short",
            {
                "processor {{topic}}": "sum by (topic) (spanloom_lag)",
                "sink {{topic}}": "sum by (topic) (spanloom_sink_lag_messages)",
            },
        ),
        metric(
            "Dropped by producers, a minute",
            "By the reason that producers give. Any is worth a look: their buffer is full, or Kafka is away.",
            "short",
            {"{{reason}}": "60 * sum by (reason) (rate(spanloom_dropped_spans_total[$__rate_interval]))"},
        ),
        metric(
            "Pages",
            "Deliveries of alerts a minute, by route and outcome.",
            "short",
            {
                "{{route}} {{outcome}}": "60 * sum by (route, outcome) "
                "(rate(spanloom_alert_deliveries_total[$__rate_interval]))"
            },
        ),
        metric(
            "Clock skew",
            "Log time minus send time of a service's last batch. Beyond 5 s its spans are late or future-dated.",
            "s",
            {"{{service}}": "max by (service) (spanloom_clock_skew_seconds)"},
            limits.at((5, "red")),
        ),
    ],
)


def metrics() -> Board:
    """Model calls and Spanloom itself, from Prometheus alone."""
    return board(
        "spanloom-prometheus",
        "Spanloom: from Prometheus",
        "Model calls and Spanloom itself, for who has no ClickHouse. Counters advance when a pane of 10 s is closed, "
        "so 3 to 13 s late; late spans are not in them, and there are no traces behind them.",
        [
            _MODEL_CALLS,
            _COST_AND_SAFETY,
            _GPUS,
            _SPANLOOM_ITSELF,
        ],
        [source("prometheus", "Prometheus", "prometheus"), MODEL],
        since="now-3h",
        filtered=False,
        annotated=False,
    )
