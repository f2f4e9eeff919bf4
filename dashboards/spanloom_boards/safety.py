"""The board that says whether somebody attacks, and whether the answers are any good."""

from spanloom_boards import links, sql
from spanloom_boards.board import Board, Row, board
from spanloom_boards.overview import BLOCK_SHARE
from spanloom_boards.panels import PROMPT, Column, Panel, series, stat, table, trace_id


def scored(name: str) -> str:
    """Mean of a score, of those who have it."""
    index = f"sumIf(s.sum, s.name = '{name}')"
    return f"{index} / 1e6 / nullIf(sumIf(s.count, s.name = '{name}'), 0)"


REASONS = sql.windows(
    f"{sql.per_minute('sum(b.count)')} AS blocks", by=["b.reason AS reason"], each="t.block_reasons AS b"
)
# Words, not parts of words: a scorecard holds no card number.
_PII = "pii|((credit|debit|bank|payment)_?)?cards?(_?numbers?)?|personal|e_?mails?|phones?"
FLAG = f"""multiIf(
        match(lower(name), 'toxic'), 'toxicity',
        match(replaceRegexpAll(lower(name), '[^a-z]+', '_'), '(^|_)({_PII})(_|$)'), 'PII',
        match(lower(name), 'injection|jailbreak'), 'injection', '')"""
FLAGS = f"""SELECT time, {FLAG} AS flag, sum(flagged) AS flagged
FROM (
    SELECT {sql.TIME}, f.1 AS name, f.2 AS flagged
    FROM {sql.WINDOWS}
    ARRAY JOIN arrayConcat(
        arrayMap(s -> (toString(s.name), s.sum / 1e6), t.scores),
        arrayMap(b -> (toString(b.reason), toFloat64(b.count)), t.block_reasons)) AS f
    WHERE {sql.chosen()}
)
WHERE flag != ''
GROUP BY time, flag
ORDER BY time, flag"""
SCORES = sql.windows("sum(s.sum) / 1e6 / sum(s.count) AS mean", by=["s.name AS score"], each="t.scores AS s")
SCORES_BY_PROMPT = sql.totals(
    "sum(s.count) AS scored",
    "sum(s.sum) / 1e6 / sum(s.count) AS mean",
    by=("s.name AS score", "service", "prompt_id", "prompt_version"),
    order="scored DESC",
    each="t.scores AS s",
)
REFUSALS = sql.of_spans(
    "$__timeInterval(t.end) AS time",
    "t.model AS model",
    "countIf(arrayExists(r -> r IN ('refusal', 'content_filter', 'safety'), t.finish_reasons)) / count() AS refused",
    where="t.kind = 'llm'",
    rest="GROUP BY time, model\nORDER BY time, model",
)
BLOCKED_TRACES = sql.of_traces(
    "t.block_reason AS reason",
    "t.service AS service",
    "count() AS requests",
    "uniqExact(t.user) AS users",
    "max(t.start) AS latest",
    "argMax(t.trace_id, t.start) AS latest_trace",
    where="t.blocks > 0",
    rest="GROUP BY reason, service\nORDER BY requests DESC\nLIMIT 100",
)


def _quality(title: str, about: str, unit: str, score: str) -> Panel:
    counted = f"sumIf(s.count, s.name = '{score}') AS scored"
    query = sql.totals(f"{scored(score)} AS mean", counted, each="t.scores AS s")
    panel = stat(title, about, unit, query, links.traces("feedback"))
    panel["options"]["reduceOptions"]["fields"] = "mean"
    return panel


_BLOCKS = Row(
    "Blocks",
    8,
    [
        series(
            "Blocked requests",
            "Share of requests that a safety check blocked; dashed: the same over the last 24 h. SafetyBlocksUnusual "
            "fires when so many are improbable.",
            "percentunit",
            BLOCK_SHARE,
            links.traces("blocked"),
            dashed=["last_24_h"],
        ),
        series(
            "Blocks a minute by reason",
            "Which check blocks. One reason alone that rises: an attack, or a rule that became too strict. All of "
            "them: look at who sends.",
            "short",
            REASONS,
            links.traces("blocked", block_reason="${__field.labels.reason}"),
            name="${__field.labels.reason}",
            stacked=True,
        ),
        series(
            "Toxicity, PII and injection",
            "Flags by topic: blocks whose reason names it, and scores whose name does (a score of 1 counts as one "
            "flag).",
            "short",
            FLAGS,
            links.traces("blocked"),
            name="${__field.labels.flag}",
            stacked=True,
        ),
    ],
)

_WHO_IS_BLOCKED = Row(
    "Who is blocked",
    8,
    [
        table(
            "Blocked requests by reason",
            "How many requests of how many users, and the latest of them. Few users with many blocks: look at one of "
            f"them. {sql.OF_TRACES}",
            [
                Column("reason", "Reason"),
                Column("service", "Service"),
                Column("requests", "Requests", "short"),
                Column("users", "Users", "short"),
                Column("latest", "Latest", "dateTimeAsIso"),
                trace_id("latest_trace", "Latest trace"),
            ],
            BLOCKED_TRACES,
            links.of_row("service", view="blocked", block_reason="reason"),
        ),
        series(
            "Refusals",
            "Share of model calls that ended in refusal, content_filter or safety: the provider refused, not a check "
            f"of ours. {sql.OF_SPANS}",
            "percentunit",
            REFUSALS,
            links.of_series("model"),
            name="${__field.labels.model}",
        ),
    ],
)

_WHAT_PEOPLE_SAY = Row(
    "What people say",
    4,
    [
        _quality("Thumbs up", "Share of thumbs that were up, of those who gave one.", "percentunit", "thumbs"),
        _quality("Rating", "Mean rating, of those who gave one.", "short", "rating"),
        _quality(
            "hit_at_k",
            "Share of retrievals that found the expected document among the first k.",
            "percentunit",
            "hit_at_k",
        ),
        _quality(
            "context_precision",
            "Share of the retrieved context that was relevant.",
            "percentunit",
            "context_precision",
        ),
        _quality(
            "Hallucination",
            "Share of judged answers that were not grounded in their context.",
            "percentunit",
            "hallucination",
        ),
    ],
)

_SCORES = Row(
    "Scores",
    9,
    [
        series(
            "Scores",
            "Mean of every score that services send, by name. A step down with a deployment is a regression.",
            "short",
            SCORES,
            links.traces("feedback"),
            name="${__field.labels.score}",
        ),
        table(
            "Scores by prompt version",
            "Which version of a prompt scores how well, and on how many.",
            [
                Column("score", "Score"),
                Column("service", "Service"),
                *PROMPT,
                Column("scored", "Scored", "short"),
                Column("mean", "Mean", "short"),
            ],
            SCORES_BY_PROMPT,
            links.of_row("service", "prompt_version", view="feedback", prompt="prompt_id"),
        ),
    ],
)


def safety() -> Board:
    """Safety checks, scores and what people say."""
    return board(
        "spanloom-safety",
        "Spanloom: safety and quality",
        "Is somebody attacking, and are the answers any good?",
        [
            _BLOCKS,
            _WHO_IS_BLOCKED,
            _WHAT_PEOPLE_SAY,
            _SCORES,
        ],
    )
