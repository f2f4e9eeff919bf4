"""The board that says who spends what on which model, and how near the budget is."""

from typing import Any

from spanloom_boards import limits, links, sql
from spanloom_boards.board import Board, Row, board
from spanloom_boards.panels import PROMPT, Column, Panel, bars, series, stat, table

_CALLS = "t.kind IN ('llm', 'embedding')"
SPENT_COLUMNS = (
    f"{sql.DOLLARS} AS dollars",
    "sum(t.unpriced) AS unpriced",
    f"sum({sql.TOKENS}) AS tokens",
    f"{sql.share(f'1000 * {sql.DOLLARS}', f'sum({sql.TOKENS})')} AS dollars_per_1k",
)


def spent(*by: str, where: str) -> str:
    """What each value of some pane keys cost, the dearest first."""
    return sql.totals(
        "sum(t.spans) AS spans", *SPENT_COLUMNS, by=by, where=where, order="dollars DESC NULLS LAST, tokens DESC"
    )


def spent_by_trace(*by: str, where: str) -> str:
    """What each value of some columns of traces cost, the dearest first."""
    keys = [f"t.{name} AS {name}" for name in by]
    return sql.sums_of_traces(
        *keys,
        "sum(t.traces) AS requests",
        *SPENT_COLUMNS,
        "dollars / requests AS dollars_per_request",
        where=where,
        rest=f"GROUP BY {', '.join(by)}\nORDER BY dollars DESC NULLS LAST, tokens DESC\nLIMIT 100",
    )


def budget(period: str) -> str:
    """Spend since the start of the UTC day or month, by environment, as the budget rules count it."""
    since = {"day": "toStartOfDay(now('UTC'))", "month": "toDateTime(toStartOfMonth(now('UTC')), 'UTC')"}[period]
    environment = sql.chosen("environment")
    return (
        f"SELECT t.environment AS environment, sum(t.cost) / 1e9 AS spent\nFROM panes_1h AS t FINAL\n"
        f"WHERE t.start >= {since} AND {environment}\nGROUP BY environment\nORDER BY spent DESC"
    )


CUMULATIVE = f"""SELECT time, environment, sum(dollars) OVER (PARTITION BY environment ORDER BY time) AS spent
FROM (
    SELECT t.start AS time, t.environment AS environment, sum(t.cost) / 1e9 AS dollars
    FROM panes_1h AS t FINAL
    WHERE t.start >= toDateTime(toStartOfMonth($__toTime), 'UTC') AND t.start <= $__toTime
      AND {sql.chosen("environment")}
    GROUP BY time, environment
)
ORDER BY time, environment"""

PER_REQUEST = sql.sums_of_traces(
    sql.TIME,
    "t.service AS service",
    f"{sql.DOLLARS} / sum(t.traces) AS mean",
    rest="GROUP BY time, service\nORDER BY time, service",
)

_DOLLARS = [
    Column("dollars", "Cost", "currencyUSD"),
    Column("unpriced", "Unpriced calls", "short", limits.ANY),
    Column("tokens", "Tokens", "short"),
    Column("dollars_per_1k", "Per 1k tokens", "currencyUSD"),
]
_LOWER = " Where calls are unpriced, cost is a lower bound; where nothing is known it is empty, never 0."


def _by(title: str, about: str, keys: list[Column], *by: str, where: str, **row: str) -> Panel:
    filters = [name for name in by if name in links.NARROWING]
    return table(
        title,
        about + _LOWER,
        [*keys, Column("spans", "Calls", "short"), *_DOLLARS],
        spent(*by, where=where),
        links.of_row(*filters, view="costly", **row),
    )


def _by_trace(title: str, about: str, keys: list[Column], *by: str, where: str = "1", **row: str) -> Panel:
    filters = [name for name in by if name in links.NARROWING]
    return table(
        title,
        about + _LOWER,
        [
            *keys,
            Column("requests", "Requests", "short"),
            *_DOLLARS,
            Column("dollars_per_request", "Per request", "currencyUSD", limits.REQUEST_DOLLARS),
        ],
        spent_by_trace(*by, where=where),
        links.of_row(*filters, view="costly", **row),
    )


def _budget(title: str, period: str, rule: str, thresholds: dict[str, Any], more: str = "") -> Panel:
    return bars(
        title,
        f"By environment, whatever the time range. Red: the limit of {rule}, the end of the bar.{more}",
        "currencyUSD",
        budget(period),
        links.traces("costly"),
        thresholds,
        min=0,
        max=limits.limit(rule),
    )


_BUDGETS = Row(
    "Budgets",
    6,
    [
        _budget("Spent today (UTC)", "day", "DailyBudgetSpent", limits.DAY_DOLLARS),
        _budget(
            "Spent this month (UTC)",
            "month",
            "MonthlyBudgetSpent",
            limits.MONTH_DOLLARS,
            " Set yours in your rules file.",
        ),
        series(
            "Spend of the month, added up",
            "From the first of the month of the range's right end, by environment. A bend upwards is the day "
            "something changed.",
            "currencyUSD",
            CUMULATIVE,
            links.of_series("environment", "costly"),
            limits.MONTH_DOLLARS,
            name="${__field.labels.environment}",
        ),
    ],
)

_COST = Row(
    "Cost",
    8,
    [
        stat(
            "In this range",
            "Known cost, tokens, model calls without a price, and the share of calls they are. Red where more than "
            "the limit of SpendUnpriced is unpriced: add the model to your prices file.",
            "short",
            sql.totals(
                f"{sql.DOLLARS} AS dollars",
                f"sum({sql.TOKENS}) AS tokens",
                "sum(t.unpriced) AS unpriced_calls",
                f"{sql.share('sum(t.unpriced)', f'sumIf(t.spans, {_CALLS})')} AS unpriced_share",
            ),
            links.traces("costly"),
            columns=[
                Column("dollars", "Cost", "currencyUSD"),
                Column("tokens", "Tokens", "short"),
                Column("unpriced_calls", "Unpriced calls", "short"),
                Column("unpriced_share", "Unpriced", "percentunit", limits.UNPRICED),
            ],
        ),
        series(
            "Cost a minute by model",
            "Known dollars a minute, stacked. A model that appears from one moment to the next is a deployment.",
            "currencyUSD",
            sql.windows(f"{sql.per_minute(sql.DOLLARS)} AS cost", by=["model"], where=_CALLS),
            links.of_series("model", "costly"),
            name="${__field.labels.model}",
            stacked=True,
        ),
        series(
            "Cost of a request",
            "Mean by service, from traces. The line is the limit of CostlyRequest, which is about single requests. "
            f"{sql.OF_SUMS}",
            "currencyUSD",
            PER_REQUEST,
            links.of_series("service", "costly"),
            limits.REQUEST_DOLLARS,
            name="${__field.labels.service}",
        ),
        series(
            "Cost of 1k tokens",
            "By model. It moves with the mix of buckets: less from the cache is dearer, and output costs more than "
            "input.",
            "currencyUSD",
            sql.windows(
                f"{sql.share(f'1000 * {sql.DOLLARS}', f'sum({sql.TOKENS})')} AS per_1k",
                by=["model"],
                where=_CALLS,
            ),
            links.of_series("model", "costly"),
            name="${__field.labels.model}",
        ),
    ],
)

_TOKENS = Row(
    "Tokens",
    8,
    [
        series(
            "By bucket",
            "Tokens a minute in the five buckets a provider bills: they do not overlap.",
            "short",
            sql.windows(*(f"{sql.per_minute(f'sum(t.{b}_tokens)')} AS {b}" for b in sql.BUCKETS)),
            links.traces("costly"),
            stacked=True,
        ),
        series(
            "By segment of the prompt",
            "Tokens a minute of the parts that services told apart. Context up: retrieval returns more, or longer, "
            "documents.",
            "short",
            sql.windows(*(f"{sql.per_minute(f'sum(t.{s}_tokens)')} AS {s}" for s in sql.SEGMENTS)),
            links.traces("context"),
            stacked=True,
        ),
        series(
            "Context that was used",
            "Of the documents retrieved, the share that answers cited. Low: you pay for context that nobody needs.",
            "percentunit",
            sql.windows("sum(t.cited) / sum(t.documents) AS context_use_rate", having="sum(t.documents) > 0"),
            links.traces("context"),
        ),
        series(
            "Unpriced calls",
            "Share of model calls whose price is not known, by model. The line is the limit of SpendUnpriced.",
            "percentunit",
            sql.windows(
                "sum(t.unpriced) / sum(t.spans) AS unpriced",
                by=["model"],
                where=_CALLS,
                having=sql.SPANS,
            ),
            links.of_series("model", "unpriced"),
            limits.UNPRICED,
            name="${__field.labels.model}",
        ),
    ],
)

_BY_MODEL_AND_PROMPT = Row(
    "By model and prompt",
    9,
    [
        _by("By model", "Model calls of the range.", [Column("model", "Model")], "model", where=_CALLS),
        _by(
            "By prompt version",
            "Which version of which prompt costs what. Two versions side by side: the board Runs.",
            list(PROMPT),
            "prompt_id",
            "prompt_version",
            where="t.prompt_id != ''",
            prompt="prompt_id",
        ),
    ],
)

_BY_WHOM_AND_WHAT_FOR = Row(
    "By whom and what for",
    9,
    [
        _by("By tenant", "Everything of the range.", [Column("tenant", "Tenant")], "tenant", where="1"),
        _by_trace(
            "By user",
            f"Users are hashes. {sql.OF_SUMS}",
            [Column("user", "User", width=220), Column("tenant", "Tenant")],
            "user",
            "tenant",
            where="t.user != ''",
        ),
        _by_trace(
            "By pipeline",
            f"A pipeline is a service and the name of its root span. {sql.OF_SUMS}",
            [Column("service", "Service"), Column("name", "Pipeline")],
            "service",
            "name",
            search="name",
        ),
    ],
)


def cost() -> Board:
    """Money and tokens."""
    return board(
        "spanloom-cost",
        "Spanloom: cost and tokens",
        "Who spends what on which model, and how near is the budget?",
        [
            _BUDGETS,
            _COST,
            _TOKENS,
            _BY_MODEL_AND_PROMPT,
            _BY_WHOM_AND_WHAT_FOR,
        ],
        since="now-24h",
    )
