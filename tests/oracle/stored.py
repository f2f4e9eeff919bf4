"""A live ClickHouse database against the truth: each difference a line that says where and what."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from tests.oracle.panes import LATENCIES, SUMS, LateKey, Pane, PaneKey
from tests.oracle.spans import SEGMENTS, TOKENS, Key, Span
from tests.oracle.truth import Truth

Rows = Sequence[Sequence[Any]]
"""What one of the queries below answers."""
FEW = 10
"""Lines a table; the rest is a number."""
HUGE = 100_000
ERROR = 0.006
"""How far a sketch's answer may be from the exact latency at any rank."""
BASE = 2.0 ** (1 / 64)

_COUNTS = [f"{name}_tokens" for name in (*TOKENS, *SEGMENTS)]
_KEY = ", ".join(Key._fields)
_SKETCHES = ", ".join(f"{name}_sketch.index, {name}_sketch.count" for name in LATENCIES)
_PANE = (
    f"{', '.join(SUMS)}, {_SKETCHES}, scores.name, scores.count, scores.sum, block_reasons.reason, block_reasons.count"
)
_WORST = "worst.why, worst.value, worst.span_id, worst.trace_id"

SPANS = f"""
SELECT trace_id, span_id, kind, toInt64(toUnixTimestamp(toStartOfMinute(s.end))),
    topic_id, partition, offset, position, toUnixTimestamp64Milli(log_time), toUnixTimestamp64Milli(log_clock),
    toString(timeliness), parent_id, name, toUnixTimestamp64Nano(s.start), toUnixTimestamp64Nano(s.end), duration,
    {_KEY}, error, blocked, block_reason, {", ".join(_COUNTS)}, cached, usage = 'estimated', ttft, tpot,
    cost, cost_status, length(documents), arrayCount(d -> d.cited, documents), scores.name, scores.value
FROM spans AS s FINAL
"""
TRACES = f"""
SELECT trace_id, toUnixTimestamp64Nano(t.start), toUnixTimestamp64Nano(t.end), reason,
    spans, errors, blocks, ifNull(cost, 0), unpriced, estimated, cache_hits, documents, cited, {", ".join(_COUNTS)}
FROM trace_summaries AS t
"""
PANES = f"""
SELECT topic_id, partition, toInt64(toUnixTimestamp(p.start)) * 1000, late_offset, {_KEY}, {_PANE}, {_WORST}
FROM panes AS p FINAL
WHERE late_offset >= 0 OR (p.start, topic_id, partition, revision) IN
    (SELECT start, topic_id, partition, max(revision) FROM panes
     WHERE late_offset < 0 GROUP BY start, topic_id, partition)
"""
ROLL_UP = f"""
SELECT toInt64(toUnixTimestamp(p.start)) * 1000, {_KEY}, {_PANE}, {_WORST} FROM {{table}} AS p FINAL WHERE spans > 0
"""
LEDGER = """
SELECT producer, epoch, produced, stored, mapKeys(dropped), mapValues(dropped),
    recovered, duplicates, gaps, missing, tail, mapKeys(shed), mapValues(shed)
FROM ledger
"""
DEAD = "SELECT stage, topic_id, partition, offset FROM dead_letters FINAL WHERE topic = 'llm.spans'"


def differences(client: Client, truth: Truth) -> list[str]:
    """Where the tables and views of the database hold other than the truth; empty: nowhere.

    Processors and sink must have read all of the log, and traces and roll-ups have come to rest.
    """

    def rows(sql: str) -> Rows:
        return client.query(sql).result_rows

    return [
        *_few("spans", spans(rows(SPANS), truth)),
        *_few("traces", traces(rows(TRACES), truth)),
        *_few("panes", panes(rows(PANES), truth)),
        *_few("panes_1m", roll_up(rows(ROLL_UP.format(table="panes_1m")), truth.minutes)),
        *_few("panes_1h", roll_up(rows(ROLL_UP.format(table="panes_1h")), truth.hours)),
        *_few("ledger", ledger(rows(LEDGER), truth)),
        *_few("dead_letters", dead_letters(rows(DEAD), truth)),
    ]


def spans(found: Rows, truth: Truth) -> Iterator[str]:
    """Differences of the table `spans`, read by SPANS."""
    rows = _by(found, lambda row: tuple(row[:4]))
    if len(rows) < len(found):
        yield f"{len(found) - len(rows)} spans stand in more than one row"
    yield from _keys("span", rows, truth.spans, lambda key: f"{key[0]}/{key[1]}")
    for key in rows.keys() & truth.spans.keys():
        yield from span_differences(truth.spans[key], rows[key][4:])


def span_differences(span: Span, row: Sequence[Any], since: str = "topic_id") -> Iterator[str]:
    """Differences of a row of `spans`, read by SPANS, from `topic_id` on; of its columns those from `since` on."""
    first = _SPAN.index(since)
    yield from _facts(f"span {span.trace_id}/{span.span_id}", _SPAN[first:], row[first:], _span(span)[first:])


def traces(found: Rows, truth: Truth) -> Iterator[str]:
    """Differences of the view `trace_summaries`, read by TRACES."""
    found = [row for row in found if not _is_huge(truth, row[0])]
    rows = _by(found, lambda row: row[0])
    if len(rows) < len(found):
        yield f"{len(found) - len(rows)} traces stand in more than one row"
    yield from _keys("trace", rows, [one for one in truth.traces if not _is_huge(truth, one)], str)
    names = ("start", "end", "reason", "spans", "errors", "blocks", "cost", "unpriced", "estimated", "cache_hits")
    names = (*names, "documents", "cited", *_COUNTS)
    for key in rows.keys() & truth.traces.keys():
        trace, row = truth.traces[key], list(rows[key][1:])
        if row[2].startswith("bound_"):
            row[2] = trace.reason or ""
        told = [trace.start, trace.end, trace.reason or "", *(trace.sums[name] for name in names[3:])]
        yield from _facts(f"trace {key}", names, row, told)


def _is_huge(truth: Truth, trace_id: str) -> bool:
    """A trace of so many spans is told in segments, each a row."""
    return trace_id in truth.traces and truth.traces[trace_id].sums["spans"] > HUGE


def panes(found: Rows, truth: Truth) -> Iterator[str]:
    """Differences of the table `panes`, panes proper and late rows, read by PANES."""
    rows: dict[PaneKey | LateKey, Any] = {}
    for topic_id, partition, start, late_offset, *rest in found:
        place = topic_id, partition, start, Key(*rest[:10])
        rows[PaneKey(*place) if late_offset < 0 else LateKey(*place, late_offset)] = rest[10:]
    told: dict[PaneKey | LateKey, Pane] = {**truth.panes, **truth.late}
    yield from _keys("pane", rows, told, _named)
    for key in rows.keys() & told.keys():
        yield from pane_differences(_named(key), rows[key], told[key])


def roll_up(found: Rows, told: Mapping[tuple[int, Key], Pane]) -> Iterator[str]:
    """Differences of `panes_1m` or `panes_1h`, read by ROLL_UP."""
    rows = {(row[0], Key(*row[1:11])): row[11:] for row in found}
    yield from _keys("window", rows, told, lambda key: f"{key[0]} of {_key(key[1])}")
    for key in rows.keys() & told.keys():
        yield from pane_differences(f"window {key[0]} of {_key(key[1])}", rows[key], told[key])


def ledger(found: Rows, truth: Truth) -> Iterator[str]:
    """Differences of the view `ledger`, read by LEDGER."""
    rows = _by(found, lambda row: (row[0], row[1]))
    yield from _keys("epoch", rows, truth.ledger, lambda key: f"{key[0]}/{key[1]}")
    names = ("produced", "stored", "dropped", "recovered", "duplicates", "gaps", "missing", "tail", "shed")
    for key in rows.keys() & truth.ledger.keys():
        epoch = truth.ledger[key]
        _, _, produced, stored, reasons, dropped, *rest, parts, less = rows[key]
        row = [produced, stored, dict(zip(reasons, dropped, strict=True)), *rest, dict(zip(parts, less, strict=True))]
        told = [epoch.produced, epoch.stored, epoch.dropped, epoch.recovered, epoch.duplicates, epoch.gaps]
        told += [epoch.missing, "closed" if epoch.closed else "unknown", epoch.shed]
        yield from _facts(f"epoch {key[0]}/{key[1]}", names, row, told)


def dead_letters(found: Rows, truth: Truth) -> Iterator[str]:
    """Differences of the table `dead_letters`, what neither stage could read, each once a stage, read by DEAD."""
    due = {(stage, *place) for place in truth.unreadable for stage in ("processor", "sink")}
    yield from _keys("dead letter of the", {tuple(row) for row in found}, due, lambda key: f"{key[0]} about {key[1:]}")


def pane_differences(what: str, row: Any, pane: Pane) -> Iterator[str]:
    """Differences of a row, as `PANES` has it from the sums on, from a pane."""
    sums, lists = row[: len(SUMS)], row[len(SUMS) :]
    yield from _facts(what, SUMS, sums, [pane.sums[name] for name in SUMS])
    for number, name in enumerate(LATENCIES):
        sketch = dict(zip(*lists[2 * number : 2 * number + 2], strict=True))
        yield from (f"{what}: {each}" for each in sketch_differences(name, sketch, getattr(pane, name)))
    names, counts, totals, reasons, blocks, *worst = lists[6:]
    scores = {(name, "count"): count for name, count in zip(names, counts, strict=True)}
    scores |= {(name, "sum"): total for name, total in zip(names, totals, strict=True)}
    if scores != dict(pane.scores):
        yield f"{what}: scores are {scores}, should be {dict(pane.scores)}"
    by_reason = dict(zip(reasons, blocks, strict=True))
    if by_reason != dict(pane.block_reasons):
        yield f"{what}: block reasons are {by_reason}, should be {dict(pane.block_reasons)}"
    ranked = sorted((why, -value, *who) for why, value, *who in zip(*worst, strict=True))
    told = sorted((why, *each) for why, found in pane.worst.items() for each in found)
    if ranked != told:
        yield f"{what}: the worst spans are {ranked}, should be {told}"


def sketch_differences(name: str, sketch: Mapping[int, int], exact: list[int]) -> Iterator[str]:
    """Where a sketch's answer is more than ERROR off the latency at that rank of `exact` (sorted)."""
    answers = [2 * BASE ** (index + 1) / (BASE + 1) for index in sorted(sketch) for _ in range(sketch[index])]
    if len(answers) != len(exact):
        yield f"{name} sketch holds {len(answers)} latencies, should hold {len(exact)}"
        return
    for rank, (answer, value) in enumerate(zip(answers, exact, strict=True), 1):
        if abs(answer - max(1, value)) > ERROR * max(1, value):
            yield f"{name} sketch says {answer:.0f} ns at rank {rank} of {len(exact)}, exact is {value}"
            return


_SPAN = (
    *("topic_id", "partition", "offset", "position", "log_time", "log_clock", "timeliness", "parent_id", "name"),
    *("start", "end", "duration", *Key._fields, "error", "blocked", "block_reason", *_COUNTS, "cached", "estimated"),
    *("ttft", "tpot", "cost", "cost_status", "documents", "cited", "score names", "score values"),
)


def _span(span: Span) -> list[Any]:
    return [
        *(span.topic_id, span.partition, span.offset, span.position, span.log_time, span.log_clock, span.timeliness),
        *(span.parent_id or "", span.name, span.start, span.end, span.duration, *span.key, span.error, span.blocked),
        *(span.block_reason or "", *(span.tokens[name] for name in (*TOKENS, *SEGMENTS)), span.cached, span.estimated),
        *(span.ttft, span.tpot, span.cost, span.cost_status, span.documents, span.cited),
        *([name for name, _ in span.scores], [value for _, value in span.scores]),
    ]


def _facts(what: str, names: Iterable[str], row: Iterable[Any], told: Iterable[Any]) -> Iterator[str]:
    for name, found, due in zip(names, row, told, strict=True):
        # By repr where they differ: a score may be NaN, which is not itself.
        if found != due and repr(found) != repr(due):
            yield f"{what}: {name} is {found!r}, should be {due!r}"


def _keys(what: str, found: Iterable[Any], told: Iterable[Any], said: Callable[[Any], str]) -> Iterator[str]:
    stored, due = set(found), set(told)
    yield from (f"{what} {said(key)} is missing" for key in sorted(due - stored, key=repr))
    yield from (f"{what} {said(key)} should not be there" for key in sorted(stored - due, key=repr))


def _by(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, Any]:
    return {key(row): row for row in rows}


def _named(key: PaneKey | LateKey) -> str:
    late = f" late in message {key.offset}" if isinstance(key, LateKey) else ""
    return f"{key.start} of partition {key.topic_id}[{key.partition}], {_key(key.key)}{late}"


def _key(key: Key) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(key._fields, key, strict=True) if value)


def _few(table: str, found: Iterable[str]) -> list[str]:
    lines = list(found)
    more = [f"{table}: … and {len(lines) - FEW} more"] if len(lines) > FEW else []
    return [f"{table}: {line}" for line in lines[:FEW]] + more
