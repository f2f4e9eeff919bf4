"""The board that says which requests, and what happened in one of them."""

from typing import NamedTuple

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board, choice, typed
from spanloom_boards.panels import PROMPT, Column, series, table, trace, trace_id


class View(NamedTuple):
    """A saved view: which traces it shows, and what it puts first."""

    name: str
    where: str
    order: str


VIEWS = {
    "latest": View("Latest", "1", "toUnixTimestamp64Nano(t.start)"),
    "slow": View(links.SAVED["slow"], "1", "t.duration"),
    "costly": View(links.SAVED["costly"], "(t.cost > 0 OR t.unpriced > 0)", "ifNull(t.cost, 0)"),
    "blocked": View(links.SAVED["blocked"], "t.blocks > 0", "toUnixTimestamp64Nano(t.start)"),
    "errors": View("Errors", "t.errors > 0", "toUnixTimestamp64Nano(t.start)"),
    "first_token": View("Slow first token", "t.ttft > 0", "ifNull(t.ttft, 0)"),
    "context": View("Largest contexts", "t.context_tokens > 0", "t.context_tokens"),
    "unpriced": View("Without a price", "t.unpriced > 0", "toUnixTimestamp64Nano(t.start)"),
    "feedback": View("With scores", "notEmpty(t.scores)", "toUnixTimestamp64Nano(t.start)"),
    "unsure": View("Partial or amended", "t.state != 'complete' OR t.amended", "toUnixTimestamp64Nano(t.start)"),
}


def _by_view(what: dict[str, str], otherwise: str) -> str:
    cases = ", ".join(f"'${{view}}' = '{name}', {value}" for name, value in what.items())
    return f"multiIf({cases}, {otherwise})"


_LATEST = VIEWS["latest"].order
FIRST = _by_view({name: view.order for name, view in VIEWS.items() if view.order != _LATEST}, _LATEST)
IN_VIEW = _by_view({name: view.where for name, view in VIEWS.items() if view.where != "1"}, "1")
_WITH_ATTRIBUTE = f"""SELECT s.trace_id FROM spans AS s
      WHERE s.end >= $__fromTime AND mapContains(s.attributes, {sql.typed("attribute")})
        AND $__conditionalAll(s.attributes[{sql.typed("attribute")}] = {sql.typed("attribute_is")}, $attribute_is)"""
_ON_HOST = f"""SELECT s.trace_id FROM spans AS s
      WHERE s.end >= $__fromTime AND s.host = {sql.typed("host")}"""
SEARCHED = "\n  AND ".join(
    [
        f"({IN_VIEW})",
        f"$__conditionalAll(t.prompt_id = {sql.typed('prompt')}, $prompt)",
        *(
            f"$__conditionalAll(t.{name} = {sql.typed(name)}, ${name})"
            for name in ("user", "run_id", "experiment", "block_reason")
        ),
        f"$__conditionalAll({sql.typed('prompt_version')} IN (t.prompt_version, "
        "concat(t.prompt_id, '@', t.prompt_version)), $prompt_version)",
        f"$__conditionalAll(has(t.models, {sql.typed('model')}), $model)",
        f"$__conditionalAll(t.duration_ms >= toFloat64OrZero({sql.typed('at_least_ms')}), $at_least_ms)",
        f"$__conditionalAll(positionCaseInsensitive(t.name, {sql.typed('search')}) > 0, $search)",
        f"$__conditionalAll(t.trace_id IN (\n      {_WITH_ATTRIBUTE}), $attribute)",
        f"$__conditionalAll(t.trace_id IN (\n      {_ON_HOST}), $host)",
    ]
)

FOUND = sql.of_traces(
    "t.start AS time",
    "t.trace_id AS trace_id",
    "t.service AS service",
    "t.name AS name",
    "t.status AS status",
    "t.duration_ms AS duration_ms",
    "t.dollars AS dollars",
    f"{sql.TOKENS} AS tokens",
    "t.errors AS errors",
    "t.block_reason AS block_reason",
    "arrayStringConcat(t.models, ', ') AS models",
    "t.prompt_id AS prompt_id",
    "t.prompt_version AS prompt_version",
    "t.tenant AS tenant",
    "t.user AS user",
    "if(t.reason = '', t.state, concat(t.state, ': ', t.reason)) AS state",
    where=SEARCHED,
    rest=f"ORDER BY {FIRST} DESC, t.trace_id\nLIMIT 200",
)
HOW_MANY = sql.of_traces(
    "$__timeInterval(t.start) AS time", "t.service AS service", "count() AS traces", where=SEARCHED,
    rest="GROUP BY time, service\nORDER BY time, service",
)  # fmt: skip


def _pairs(column: str) -> str:
    return f"arrayMap(key -> map('key', key, 'value', {column}[key]), mapKeys({column}))"


ONE = f"""SELECT t.TraceId AS traceID, t.SpanId AS spanID, t.ParentSpanId AS parentSpanID,
    t.ServiceName AS serviceName, t.SpanName AS operationName,
    toUnixTimestamp64Nano(t.Timestamp) * 0.000001 AS startTime, t.Duration * 0.000001 AS duration,
    {_pairs("t.SpanAttributes")} AS tags, {_pairs("t.ResourceAttributes")} AS serviceTags,
    if(t.StatusCode = 'Error', 2, 0) AS statusCode, t.StatusMessage AS statusMessage, t.SpanKind AS kind,
    arrayMap((name, time, attributes) ->
        (name, toString(toUnixTimestamp64Milli(time)), {_pairs("attributes")})
            ::Tuple(name String, timestamp String, fields Array(Map(String, String))),
        t.Events.Name, t.Events.Timestamp, t.Events.Attributes) AS logs,
    arrayMap((trace, span, attributes) ->
        (trace, span, {_pairs("attributes")})::Tuple(traceID String, spanID String, tags Array(Map(String, String))),
        t.Links.TraceId, t.Links.SpanId, t.Links.Attributes) AS references
FROM otel_traces AS t
WHERE t.TraceId = {sql.typed("trace_id")}
ORDER BY startTime"""

HEAVIEST = sql.totals(
    "sum(t.spans) AS calls",
    "sum(t.input_tokens + t.cache_read_tokens + t.cache_write_tokens) AS tokens_in",
    "tokens_in / calls AS tokens_in_per_call",
    f"{sql.DOLLARS} AS dollars",
    by=("prompt_id", "prompt_version", "service"),
    where="t.kind = 'llm' AND t.prompt_id != ''",
    having="calls > 0",
    order="tokens_in DESC",
)
LARGEST = sql.of_traces(
    "t.context_tokens AS context_tokens",
    "t.documents AS documents",
    "t.cited AS cited",
    "t.service AS service",
    "t.prompt_id AS prompt_id",
    "t.dollars AS dollars",
    "t.trace_id AS trace_id",
    where="t.context_tokens > 0",
    rest="ORDER BY t.context_tokens DESC, t.trace_id\nLIMIT 50",
)
RETRIEVALS = sql.of_spans(
    "t.duration / 1e6 AS duration_ms",
    "t.name AS name",
    "t.service AS service",
    "t.retriever_k AS k",
    "length(t.documents) AS documents",
    "t.trace_id AS trace_id",
    where="t.kind = 'retrieval'",
    rest="ORDER BY t.duration DESC, t.span_id\nLIMIT 50",
)

_ID = trace_id("trace_id", "Trace")


_FOUND = Row(
    "Found",
    10,
    [
        table(
            "Traces",
            "The first 200 of the view and the filters above. A click on a trace id shows it below; the command "
            "spanloom trace with the id shows the same in a terminal, with its critical path. "
            f"{sql.OF_TRACES}",
            [
                Column("time", "Began", "dateTimeAsIso", width=190),
                _ID,
                Column("service", "Service"),
                Column("name", "Name"),
                Column("status", "Status"),
                Column("duration_ms", "Duration", "ms", limits.LATENCY_MS),
                Column("dollars", "Cost", "currencyUSD", limits.REQUEST_DOLLARS),
                Column("tokens", "Tokens", "short"),
                Column("errors", "Spans in error", "short", limits.ANY),
                Column("block_reason", "Blocked for"),
                Column("models", "Models"),
                *PROMPT,
                Column("tenant", "Tenant"),
                Column("user", "User"),
                Column("state", "State"),
            ],
            FOUND,
            links.to(links.TRACES, "Open the trace", trace_id="${__data.fields.trace_id}"),
        )
    ],
)

_ONE_TRACE = Row(
    "One trace",
    14,
    [
        trace(
            "The trace",
            "Every span of the trace chosen above, by service and depth. Red spans failed. The attributes of a span "
            "hold its model, tokens, cost and the reason of a block. Empty: no trace is chosen, or its spans are "
            "older than a week.",
            ONE,
        )
    ],
)

_HOW_MANY = Row(
    "How many",
    6,
    [
        series(
            "How many match",
            f"Traces of the view and the filters by service: when a spike began. {sql.OF_TRACES}",
            "short",
            HOW_MANY,
            links.of_series("service", "${view}"),
            name="${__field.labels.service}",
            stacked=True,
        )
    ],
)

_TOP_OFFENDERS = Row(
    "Top offenders",
    9,
    [
        table(
            "Heaviest prompts",
            "Prompts by the tokens they sent in the range. A click shows their costliest traces.",
            [
                *PROMPT,
                Column("service", "Service"),
                Column("calls", "Calls", "short"),
                Column("tokens_in", "Tokens in", "short"),
                Column("tokens_in_per_call", "In a call", "short"),
                Column("dollars", "Cost", "currencyUSD"),
            ],
            HEAVIEST,
            links.of_row("service", "prompt_version", view="costly", prompt="prompt_id"),
        ),
        table(
            "Largest contexts",
            "Requests by the tokens of their context, and how much of what was retrieved their answers cited. "
            f"{sql.OF_TRACES}",
            [
                Column("context_tokens", "Context", "short"),
                Column("documents", "Retrieved", "short"),
                Column("cited", "Cited", "short"),
                Column("service", "Service"),
                Column("prompt_id", "Prompt"),
                Column("dollars", "Cost", "currencyUSD"),
                _ID,
            ],
            LARGEST,
            links.of_row("service", view="context"),
        ),
        table(
            "Slowest retrievals",
            f"Single retrievals, the slowest first. {sql.OF_SPANS}",
            [
                Column("duration_ms", "Duration", "ms"),
                Column("name", "Name"),
                Column("service", "Service"),
                Column("k", "k", "short"),
                Column("documents", "Documents", "short"),
                _ID,
            ],
            RETRIEVALS,
            links.of_row("service", view="slow"),
        ),
    ],
)


def traces() -> Board:
    """Search, saved views, offenders, and one trace."""
    return board(
        links.TRACES,
        "Spanloom: traces",
        "Which requests, and what happened in one of them? Choose a view, narrow it, click a trace: it opens below.",
        [
            _FOUND,
            _ONE_TRACE,
            _HOW_MANY,
            _TOP_OFFENDERS,
        ],
        [
            choice("view", "View", {view.name: name for name, view in VIEWS.items()}),
            typed("prompt", "Prompt", "The id of a prompt; empty: any."),
            typed("prompt_version", "Version", "The version of a prompt, or PROMPT@VERSION; empty: any."),
            typed("model", "Model", "A model that answered in it; empty: any."),
            typed("user", "User", "The hash of a user; empty: any."),
            typed("run_id", "Run", "The id of a run; empty: any."),
            typed("experiment", "Experiment", "The name of an experiment; empty: any."),
            typed("block_reason", "Blocked for", "The reason of a block; empty: any."),
            typed("at_least_ms", "At least ms", "Traces that took at least so many milliseconds; empty: any."),
            typed("search", "Name contains", "A part of the name of a trace's root span; empty: any."),
            typed(
                "attribute", "Attribute", "A name: traces of which a span has that attribute; empty: any. For a week."
            ),
            typed("attribute_is", "is", "The value of that attribute; empty: whatever it is."),
            typed("host", "Host", "Traces of which a span ran on that host; empty: any. For a week."),
            typed("trace_id", "Trace", "32 hexadecimal digits: the trace to open."),
        ],
        since="now-1h",
    )
