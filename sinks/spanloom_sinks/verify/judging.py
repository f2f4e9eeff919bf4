"""Facts → findings. Pure: the same facts make the same report, and each kind of wrong has its own line."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from spanloom_sinks import amendments
from spanloom_sinks.verify import prices
from spanloom_sinks.verify.facts import Compared, Contents, Ledger, Log, Messages, Range, Told, Traces
from spanloom_sinks.verify.model import Finding, State

T = TypeVar("T", Ledger, Messages, Contents, Compared, Traces)
DeadLetters = Sequence[tuple[str, str, str, int]]


class Facts(NamedTuple):
    """All that was found about a range, the parts of each check as they were read."""

    range: Range
    ledger: Sequence[Ledger]
    messages: Sequence[Messages]
    contents: Sequence[Contents]
    compared: Mapping[str, Sequence[Compared]]
    traces: Sequence[Traces]
    told: Told
    dead: DeadLetters


def judge(facts: Facts) -> list[Finding]:
    """What is to be said about the facts, in the order in which data moves."""
    contents = _sum(Contents, facts.contents)
    late = _sum(Compared, facts.compared.get("late", ()))
    return [
        _ledger(_sum(Ledger, facts.ledger)),
        _tails(_sum(Ledger, facts.ledger)),
        *_messages(_sum(Messages, facts.messages), contents),
        _dead_letters(facts.dead),
        _panes(_sum(Compared, facts.compared.get("panes", ())), facts.range),
        _windows("windows", "minutes", "panes_1m", _sum(Compared, facts.compared.get("windows", ()))),
        _windows("hours", "hours", "panes_1h", _sum(Compared, facts.compared.get("hours", ()))),
        _quantiles(facts.compared.get("quantiles", ())),
        _late(contents, late),
        _traces(_sum(Traces, facts.traces), facts.told, facts.range),
        _windows("trace_hours", "hours", "traces_1h", _sum(Compared, facts.compared.get("trace_hours", ()))),
        prices.finding(contents),
        _usage(contents),
        _overflow(contents, facts.range.log),
        _topics(facts.range),
    ]


def _ledger(found: Ledger) -> Finding:
    why = ", ".join(f"{reason} {spans:,}" for reason, spans in found.reasons)
    text = f"{found.produced:,} spans produced = {found.stored:,} stored + {found.dropped:,} dropped" + (
        f" ({why})" if why else ""
    )
    if found.recovered:
        text += f" − {found.recovered:,} given up, but stored after all"
    if found.in_flight:
        text += f" + {found.in_flight:,} in flight"
    if found.missing or found.gaps:
        text += f"; {found.missing:,} missing, {found.gaps:,} messages never came"
    if found.extra:
        text += f"; {found.extra:,} more stored than were made"
    if found.unexamined:
        text += f"; {found.unexamined:,} more producers do not balance"
    text += f"; {_count(found.duplicates, 'message')} came twice, counted once" if found.duplicates else ""
    for part, spans in found.shed:
        text += f"; {spans:,} stored without their {part}, room was short"
    return Finding(
        "ledger",
        _state(found.wrong),
        f"{text}, in {_lives(found.lives)} of producers",
        {
            name: getattr(found, name)
            for name in ("produced", "stored", "dropped", "missing", "gaps", "duplicates", "recovered")
        }
        | {"dropped_by_reason": dict(found.reasons), "shed": dict(found.shed), "spans_in_flight": found.in_flight},
        found.shown,
        "SELECT * FROM ledger WHERE unsettled != 0 OR gaps != 0 ORDER BY last_sent DESC" if found.wrong else "",
    )


def _tails(found: Ledger) -> Finding:
    if not found.tail_unknown and not found.beheaded:
        return Finding(
            "tail", State.EXACT, f"every producer that ended said so: {_lives(found.lives)}", {"tail_unknown": 0}
        )
    text = (
        f"unknown for {found.tail_unknown:,} of {_lives(found.lives)}: they run, or ended without a last "
        "message (kill -9, power) "
        "and lost at most what waited in their buffers"
    )
    if found.beheaded:
        text += f"; {found.beheaded:,} began before the ledger's oldest row, what they lack is not known"
    return Finding(
        "tail",
        State.NOTE,
        text,
        {"tail_unknown": found.tail_unknown, "beheaded": found.beheaded},
        query="SELECT * FROM ledger WHERE tail = 'unknown' ORDER BY last_sent",
    )


def _messages(found: Messages, contents: Contents) -> list[Finding]:
    log = f"{found.messages:,} messages stored, one for each offset from first to last"
    if found.skipped:
        log += f"; {found.skipped:,} offsets hold no message (marks of transactions)"
    if found.unstored:
        log += f"; {found.unstored:,} messages are in the topic, but neither stored nor dead letters"
    if found.removed:
        log += f"; {found.removed:,} offsets are in no table, and retention removed them from the topic"
    rows = f"{found.rows:,} rows for {found.said:,} spans in the messages"
    if found.copies:
        rows += f"; {found.copies:,} came twice and count once"
    if found.unexplained:
        rows += (
            f"; {found.unexplained:,} without a row whose message was not read: came twice if panes agree, else lost"
        )
    for count, words in (
        (found.lost, "have no row"),
        (found.twice, "rows are stored twice"),
        (found.more + contents.beyond, "rows came from no message"),
    ):
        if count:
            rows += f"; {count:,} {words}"
    lost_lines = [line for line in found.shown if "in no table" in line]
    other_lines = [line for line in found.shown if "in no table" not in line]
    return [
        Finding(
            "log",
            _state(found.unstored + found.removed),
            log,
            {name: getattr(found, name) for name in ("messages", "skipped", "unstored", "removed")},
            lost_lines,
            "SELECT partition, offset FROM batches UNION DISTINCT SELECT partition, offset FROM dead_letters "
            "WHERE topic = 'llm.spans' ORDER BY partition, offset"
            if lost_lines
            else "",
        ),
        Finding(
            "spans",
            _state(found.lost + found.twice + found.more + contents.beyond),
            rows,
            {name: getattr(found, name) for name in ("rows", "said", "copies", "unexplained", "lost", "twice", "more")}
            | {"spans": contents.spans, "beyond": contents.beyond},
            other_lines,
            "SELECT b.partition, b.offset, any(b.spans) AS held, uniqExact(s.position) AS stored FROM "
            "batches AS b LEFT JOIN "
            "spans AS s USING (topic_id, partition, offset) GROUP BY b.partition, b.offset HAVING held != stored"
            if found.lost or found.twice or found.more or contents.beyond
            else "",
        ),
    ]


def _dead_letters(found: DeadLetters) -> Finding:
    total = sum(messages for *_, messages in found)
    if not total:
        return Finding("unreadable", State.EXACT, "every message could be read", {"dead_letters": 0})
    what = ", ".join(f"{reason} {messages:,} ({topic}, by the {stage})" for topic, stage, reason, messages in found)
    return Finding(
        "unreadable",
        State.NOTE,
        f"messages that could not be read are kept whole in dead_letters: {what}",
        {"dead_letters": total, "dead_letters_by_reason": [list(row) for row in found]},
        query="SELECT topic, partition, offset, stage, reason, error FROM dead_letters ORDER BY log_time DESC",
    )


def _panes(found: Compared, over: Range) -> Finding:
    text = (
        f"{found.compared:,} panes of 10 s and a partition hold {found.told:,} of {found.raw:,} on-time "
        "spans, with their "
    )
    text += "errors, blocks, tokens and cost, key by key"
    if found.overflowed:
        text += f"; {found.overflowed:,} had more keys than the cap and were compared in total"
    if not found.compared:
        reached = _moment(max(0, min(over.settled, over.until)))
        text = f"no pane of that time is at rest: the processors have come to {reached}"
        return Finding("panes", State.NOTE, text, {"panes_compared": 0, "panes_spans": 0})
    return _against("panes", "panes", found, f"{text}; judged up to {_moment(min(over.settled, over.until))}", "panes")


def _windows(check: str, what: str, table: str, found: Compared) -> Finding:
    if not found.compared:
        return Finding(
            check, State.NOTE, f"no whole {what} at rest in that time", {f"{check}_compared": 0, f"{check}_spans": 0}
        )
    text = f"{found.compared:,} {what} of {table} hold {found.told:,} of {found.raw:,} spans, late ones included"
    return _against(check, what, found, text, table)


def _against(check: str, what: str, found: Compared, text: str, table: str) -> Finding:
    wrong = f"{found.differ:,} {what} wrong: " if found.differ else ""
    return Finding(
        check,
        _state(found.differ),
        wrong + text,
        {
            f"{check}_compared": found.compared,
            f"{check}_wrong": found.differ,
            f"{check}_spans": found.told,
            f"{check}_raw": found.raw,
        },
        found.shown,
        f"SELECT * FROM {table} FINAL WHERE start = toDateTime('{found.shown[0][:19]}', 'UTC')" if found.shown else "",
    )


def _quantiles(parts: Sequence[Compared]) -> Finding:
    found, worst = _sum(Compared, parts), max((part.worst for part in parts), default=0.0)
    if not found.compared:
        return Finding("latency", State.NOTE, "no whole minutes at rest in that time", {"quantiles_compared": 0})
    off = f"{100 * worst:.2f} % off" if worst < 1e6 else "without a sketch"
    text = (
        f"p50, p95, p99 of duration, TTFT and TPOT of {found.compared:,} minutes, services and kinds: at most "
        f"{off} (bound 0.6 %)"
    )
    if found.differ:
        text = f"{found.differ:,} wrong: {text}"
    return Finding(
        "latency",
        _state(found.differ),
        text,
        {"quantiles_compared": found.compared, "quantiles_wrong": found.differ, "quantiles_worst": worst},
        found.shown,
        "SELECT window, service, kind, request, p50_ms, p95_ms, p99_ms FROM windows_1m ORDER BY window"
        if found.shown
        else "",
    )


def _late(contents: Contents, found: Compared) -> Finding:
    text = (
        f"{contents.late:,} spans late, {contents.future_dated:,} future-dated: in the totals of minutes and "
        "hours, and alerts know them"
    )
    if found.differ:
        text = f"{found.differ:,} late or future-dated spans are in no late row, so alerts do not know them; {text}"
    elif not contents.late and not contents.future_dated:
        text = "no span was late or future-dated"
    return Finding(
        "late",
        _state(found.differ),
        text,
        {"late": contents.late, "future_dated": contents.future_dated, "late_untold": found.differ},
        query="SELECT trace_id, span_id, end, log_time, timeliness FROM spans FINAL WHERE timeliness != 'on_time'"
        if found.differ
        else "",
    )


def _traces(found: Traces, told: Told, over: Range) -> Finding:
    states: dict[str, int] = defaultdict(int)
    for state, reason, _, traces in told.traces:
        states[reason or state] += traces
    amended = sum(traces for _, _, was, traces in told.traces if was)
    text = f"{found.compared:,} traces have spans, each with one summary of the same spans, tokens and cost"
    if found.wrong:
        text = (
            f"{found.compared:,} traces have spans; of these {found.absent:,} have no summary, "
            f"{found.differ:,} another count or sum, {found.doubled:,} two summaries"
        )
    if found.unexamined:
        text += f", {found.unexamined:,} more were not looked into"
    if found.in_segments:
        text += f"; {found.in_segments:,} of more than {amendments.SPANS_AT_ONCE:,} spans, left in segments that add up"
    if found.in_flight:
        text += f"; {found.in_flight:,} in flight"
    partial = {reason: count for reason, count in states.items() if reason != "complete"}
    if amended:
        text += f"; {amended:,} amended by later spans"
    if partial:
        text += f"; partial: {', '.join(f'{reason} {count:,}' for reason, count in sorted(partial.items()))}"
    return Finding(
        "traces",
        _state(found.wrong),
        text,
        {
            "traces": found.compared,
            "traces_absent": found.absent,
            "traces_wrong": found.differ,
            "traces_doubled": found.doubled,
            "traces_in_segments": found.in_segments,
            "traces_in_flight": found.in_flight,
            "traces_settled": over.traces_settled,
            "amended": amended,
            "partial_by_reason": partial,
        },
        found.shown,
        f"SELECT * FROM traces FINAL WHERE trace_id = '{found.shown[0].split()[1]}'" if found.shown else "",
    )


def _overflow(contents: Contents, log: Log | None) -> Finding:
    moved = dict(log.overflow) if log else {}
    if not contents.other and not moved:
        return Finding("bounds", State.EXACT, "nothing overflowed a bound", {"other": 0, "overflow": {}})
    text = f"{contents.other:,} spans are in keys called `other`, past the cap of keys of a pane"
    if moved:
        text += (
            "; since its start the processors moved by bound: "
            f"{', '.join(f'{bound} {spans:,}' for bound, spans in sorted(moved.items()))}"
        )
    return Finding("bounds", State.NOTE, text, {"other": contents.other, "overflow": moved})


def _usage(contents: Contents) -> Finding:
    if not contents.twice:
        return Finding("usage", State.EXACT, "no call counts twice", {"usage_twice": 0})
    text = (
        f"{contents.twice:,} spans report tokens of calls that another instrumentation's span has counted: "
        "they reached two gateways, or two processes"
    )
    return Finding("usage", State.NOTE, text, {"usage_twice": contents.twice}, contents.twice_of[:3])


def _topics(over: Range) -> Finding:
    log = over.log
    if log is None:
        return Finding("topics", State.NOTE, "not asked: what was never stored is not known", {"in_flight": 0})
    behind = ", ".join(f"{lag.group} {lag.messages:,} in {lag.topic}" for lag in log.lags if lag.messages)
    counts = {
        "in_flight": over.in_flight,
        "lag": [lag._asdict() for lag in log.lags],
        "removed_before_stored": dict(log.removed_before_stored),
        "topic_id": log.topic_id,
    }
    text = f"behind: {behind}" if behind else "no group is behind"
    if over.in_flight:
        text += f"; of the range {_count(over.in_flight, 'message')} in flight"
    wrong = []
    for topic, messages in log.removed_before_stored.items():
        wrong.append(f"retention removed {_count(messages, 'message')} of {topic} before the sink had committed them")
    if over.topic_ids and over.topic_ids[0] != log.topic_id:
        wrong.append(
            f"what is stored came from topic {over.topic_ids[0]}, the cluster's llm.spans is "
            f"{log.topic_id}: another cluster, or made anew"
        )
    if over.in_flight and not over.topic_ids:
        wrong.append("the topic has messages of that time, and none is stored: is the sink running?")
    if len(over.topic_ids) > 1:
        text += f"; llm.spans was made anew in that time ({len(over.topic_ids)} topic ids)"
    return Finding("topics", _state(len(wrong)), "; ".join([*wrong, text]), counts)


def _sum(kind: type[T], parts: Iterable[T]) -> T:
    """Field by field: numbers added, tuples joined, the first examples kept."""
    total = kind()
    for part in parts:
        fields = zip(kind._fields, total, part, strict=True)
        total = kind(*(_add(name, ours, theirs) for name, ours, theirs in fields))
    return total


def _add(name: str, ours: Any, theirs: Any) -> Any:
    if name in ("reasons", "shed"):
        return tuple(sorted((Counter(dict(ours)) + Counter(dict(theirs))).items()))
    joined = ours + theirs
    return joined[:10] if name == "shown" else joined


def _state(wrong: int) -> State:
    return State.WRONG if wrong else State.EXACT


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _lives(number: int) -> str:
    return "1 life" if number == 1 else f"{number:,} lives"


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
