"""The board that says whether the new one is better than the old one."""

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board, choice, query
from spanloom_boards.panels import Column, series, table

BY = {
    "Run": "run_id",
    "Prompt version": "prompt_version",
    "Experiment": "experiment",
    "Model": "model",
}
_NAMED = {"prompt_version": "if(t.prompt_id = '', '', concat(t.prompt_id, '@', t.prompt_version))"}
"""As the command line names them: a version says nothing without its prompt."""
_CASES = ", ".join(f"'${{by}}' = '{column}', {_NAMED.get(column, f't.{column}')}" for column in BY.values())
SIDE = f"multiIf({_CASES}, '')"
"""What is compared: a run, a version of a prompt, an experiment or a model."""

_OF_PROMPT = "$__conditionalAll(t.prompt_id IN (${prompt:singlequote}), $prompt)"
_OF_SIDES = f"$__conditionalAll({SIDE} IN (${{sides:singlequote}}, {sql.typed('base')}), $sides)"
_SIDES = f"{SIDE} != ''\n  AND {_OF_SIDES}\n  AND {_OF_PROMPT}"
CHOICES = (
    f"SELECT DISTINCT {SIDE} AS side FROM {sql.WINDOWS}\n"
    f"WHERE side != '' AND {sql.chosen()} AND {_OF_PROMPT} ORDER BY side"
)
PROMPTS = f"SELECT DISTINCT t.prompt_id FROM {sql.WINDOWS}\nWHERE t.prompt_id != '' AND {sql.chosen()} ORDER BY 1"

_CALL = "t.kind = 'llm'"
_CALLS = f"sumIf(t.spans, {_CALL})"
_MEASURES = {
    "requests": sql.REQUESTS,
    "calls": _CALLS,
    "request_p95": sql.quantile(0.95, where="t.request"),
    "call_p50": sql.quantile(0.5, where=_CALL),
    "call_p95": sql.quantile(0.95, where=_CALL),
    "ttft_p95": sql.quantile(0.95, "ttft"),
    "failed": sql.share(sql.FAILED, sql.REQUESTS),
    "failed_calls": sql.share(f"sumIf(t.errors, {_CALL})", _CALLS),
    "blocked": sql.share(sql.BLOCKED, sql.REQUESTS),
    "blocked_calls": sql.share(f"sumIf(t.blocks, {_CALL})", _CALLS),
    "dollars": sql.DOLLARS,
    "per_call": sql.share(sql.DOLLARS, _CALLS),
    "tokens_per_call": sql.share(f"sum({sql.TOKENS})", _CALLS),
    "context_use": sql.share("sum(t.cited)", "sum(t.documents)"),
}
_COMPARED = ("request_p95", "call_p50", "call_p95", "ttft_p95", "per_call", "tokens_per_call")
"""Shown as a difference to the base as well."""


def _grouped(columns: str) -> str:
    return f"SELECT {SIDE} AS side, {columns}\nFROM {sql.WINDOWS}\nWHERE {sql.chosen()}\n  AND {_SIDES}\nGROUP BY side"


_ALL = ", ".join(f"{expression} AS {name}" for name, expression in _MEASURES.items())
_IS_BASE = f"side = {sql.typed('base')}"


def _of_base(value: str, partition: str = "") -> str:
    return f"anyIf({value}, {_IS_BASE}) OVER ({partition})"


_CHANGES = ", ".join(f"{name} / nullIf({_of_base(name)}, 0) - 1 AS {name}_change" for name in _COMPARED)
TABLE = f"""SELECT *, {_CHANGES}
FROM (
{_grouped(_ALL)}
)
ORDER BY {_IS_BASE} DESC, side"""
SCORES = f"""SELECT *, mean - {_of_base("mean", "PARTITION BY score")} AS difference
FROM (
    SELECT toString(s.name) AS score, {SIDE} AS side, sum(s.count) AS scored, sum(s.sum) / 1e6 / sum(s.count) AS mean
    FROM {sql.WINDOWS} ARRAY JOIN t.scores AS s
    WHERE {sql.chosen()}
      AND {_SIDES}
    GROUP BY score, side
)
ORDER BY score, {_IS_BASE} DESC, side"""


def _over_time(column: str, where: str, having: str = "sum(t.spans) > 0") -> str:
    return (
        f"SELECT {sql.TIME}, {SIDE} AS side, {column}\nFROM {sql.WINDOWS}\nWHERE {sql.chosen()}\n  AND {_SIDES}"
        f"\n  AND {where}\nGROUP BY time, side\nHAVING {having}\nORDER BY time, side"
    )


def _traces(side: str, view: str = "latest") -> links.Link:
    """To the traces of a side: what is compared is named as the variable that narrows them."""
    return links.traces(view, "The traces of this side", **{"${by}": f"${{{side}}}"})


_CHANGE = limits.at((0.05, "orange"), (0.2, "red"))
_NAME = "${__field.labels.side}"


_SIDE_BY_SIDE = Row(
    "Side by side",
    9,
    [
        table(
            "Measures and their difference to the base",
            "A row for each side; the base comes first. A change is relative: +20 % in red is a fifth slower, dearer "
            "or longer than the base. Of few calls a difference says little. What is said of requests is empty for "
            "prompts and models: requests have neither.",
            [
                Column("side", "Side"),
                Column("requests", "Requests", "short"),
                Column("calls", "Model calls", "short"),
                Column("request_p95", "Request p95", "ms", limits.LATENCY_MS),
                Column("request_p95_change", "Request p95 Δ", "percentunit", _CHANGE),
                Column("call_p50", "Call p50", "ms"),
                Column("call_p50_change", "Call p50 Δ", "percentunit", _CHANGE),
                Column("call_p95", "Call p95", "ms"),
                Column("call_p95_change", "Call p95 Δ", "percentunit", _CHANGE),
                Column("ttft_p95", "First token p95", "ms", limits.TTFT_MS),
                Column("ttft_p95_change", "First token p95 Δ", "percentunit", _CHANGE),
                Column("failed", "Failed requests", "percentunit", limits.ERRORS),
                Column("failed_calls", "Failed calls", "percentunit", limits.ERRORS),
                Column("blocked", "Blocked requests", "percentunit"),
                Column("blocked_calls", "Blocked calls", "percentunit"),
                Column("dollars", "Cost", "currencyUSD"),
                Column("per_call", "Cost a call", "currencyUSD"),
                Column("per_call_change", "Cost a call Δ", "percentunit", _CHANGE),
                Column("tokens_per_call", "Tokens a call", "short"),
                Column("tokens_per_call_change", "Tokens a call Δ", "percentunit", _CHANGE),
                Column("context_use", "Context used", "percentunit"),
            ],
            TABLE,
            _traces("__data.fields.side"),
        )
    ],
)

_QUALITY = Row(
    "Quality",
    8,
    [
        table(
            "Scores and their difference to the base",
            "Mean of each score by side, on how many, and the difference to the base.",
            [
                Column("score", "Score"),
                Column("side", "Side"),
                Column("scored", "Scored", "short"),
                Column("mean", "Mean", "short"),
                Column("difference", "Difference", "short"),
            ],
            SCORES,
            _traces("__data.fields.side", "feedback"),
        )
    ],
)

_OVER_TIME = Row(
    "Over time",
    8,
    [
        series(
            "Model call latency",
            "p95 of model calls of each side, where they overlap in time and where not.",
            "ms",
            _over_time(f"{sql.quantile(0.95)} AS p95", _CALL),
            _traces("__field.labels.side", "slow"),
            name=_NAME,
        ),
        series(
            "Cost of a model call",
            "Known dollars of a call of each side.",
            "currencyUSD",
            _over_time(f"{sql.DOLLARS} / sum(t.spans) AS cost", _CALL),
            _traces("__field.labels.side", "costly"),
            limits.REQUEST_DOLLARS,
            name=_NAME,
        ),
        series(
            "Failed requests and calls",
            "Share of the requests, and of the model calls, of each side that failed. Prompts and models have "
            "calls alone.",
            "percentunit",
            _over_time(
                f"{sql.share(sql.FAILED, sql.REQUESTS)} AS requests, "
                f"{sql.share(f'sumIf(t.errors, {_CALL})', _CALLS)} AS calls",
                f"(t.request OR {_CALL})",
            ),
            _traces("__field.labels.side", "errors"),
            limits.ERRORS,
            name=f"{_NAME}: ${{__field.name}}",
        ),
    ],
)


def runs() -> Board:
    """Runs, prompt versions, experiments or models side by side."""
    return board(
        "spanloom-runs",
        "Spanloom: runs compared",
        "Is the new one better than the old one? Runs, prompt versions, experiments or models side by side, with the "
        "differences to a base.",
        [
            _SIDE_BY_SIDE,
            _QUALITY,
            _OVER_TIME,
        ],
        [
            choice("by", "Compare", BY),
            query("prompt", "Prompt", PROMPTS),
            query("base", "Base", CHOICES, multi=False, everything=False),
            query("sides", "With", CHOICES, everything=True),
        ],
        since="now-7d",
    )
