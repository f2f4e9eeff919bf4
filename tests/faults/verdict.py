"""What the line holds after a fault, against what the producers did and what the oracle reads from the log."""

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client
from spanloom_schemas.prices.book import Book

from tests.faults.pages import Due
from tests.faults.receipts import judge
from tests.faults.stage import Account, Stage
from tests.oracle import stored
from tests.oracle.produced import logs
from tests.oracle.spans import Logged
from tests.oracle.truth import Place, Truth, truth_of

SETTLED_S = 90.0
IDLE_S = 33.0
CLOCK_NS = 50_000_000
"""The account reads the wall clock a moment before the trace does; it may be set in between."""

PLACES = "SELECT count() - uniqExact(topic_id, partition, offset, position) FROM spans"
ROWS = """
SELECT service, trace_id, span_id, name, kind, toUnixTimestamp64Nano(s.end), tenant, model, input_tokens, output_tokens,
    error, blocked
FROM spans AS s FINAL
"""
COUNTED = "SELECT sum(missing) FROM ledger"
FRONTIER_MS, AGE_MS = 15_000, 90_000
"""Until when panes are incomplete after retention took messages; how long before them a trace may have begun."""
_FACTS = (("tenant", ""), ("model", ""), ("input_tokens", None), ("output_tokens", None), ("error", False))


class Verdict(NamedTuple):
    """Counts of one trial; `differences` says each wrong thing in a line."""

    produced: int
    dropped: int
    """by producers, counted and said"""
    lost: int
    double: int
    wrong: int
    differences: list[str]
    pages: int = 0
    """paged without a reason, or again"""

    @property
    def good(self) -> bool:
        return not (self.lost or self.double or self.wrong or self.pages)


def rested(stage: Stage, seconds: float = SETTLED_S, idle: float = IDLE_S, hours: bool = False) -> Verdict:
    """The verdict on all tables and on who was paged, once all is told and it is good, or after `seconds`.

    The tail of a trace that a crash made the processor read again is told when it was `idle` for half a minute, and is
    a segment of its own for a moment then. What comes to rest after that is final.
    """
    stage.run(idle)
    return _until_good(stage, seconds, hours)


def _until_good(stage: Stage, seconds: float, hours: bool) -> Verdict:
    truth, due = truth_of(_readable(stage), Book.load()), Due(stage.bootstrap)
    deadline = time.monotonic() + seconds
    while True:
        found = _look(stage, truth, due, hours)
        if found.good or time.monotonic() > deadline:
            return found
        stage.run(0.5)


def _readable(stage: Stage) -> dict[Place, list[Logged]]:
    """The log as it was for who read it in time: messages that retention took unread are in no table."""
    now = logs(stage.bootstrap)
    whole = {
        place: [m for m in old if not now.get(place) or m.offset < now[place][0].offset] + now.get(place, [])
        for place, old in stage.former.items()
    }
    stored = {tuple(row) for row in stage.ask("SELECT topic_id, partition, offset FROM batches") or ()}
    read, gone = {}, []
    for place, log in {**now, **whole}.items():
        lost = [m for m in log if m.offset < stage.trimmed.get(place, 0) and (*place, m.offset) not in stored]
        gone += [m.log_time_ms for m in lost]
        taken = {m.offset for m in lost}
        read[place] = [m for m in log if m.offset not in taken]
    stage.gone = gone
    return read


def _look(stage: Stage, truth: Truth, due: Due, hours: bool) -> Verdict:
    client = stage.client()
    try:
        missing, double, wrong = _accounts(client, stage.accounts, stage.strangers)
        double += client.query(PLACES).first_row[0]
        differences = list(_differences(client, truth, hours))
        counted = client.query(COUNTED).first_row[0] if stage.trimmed else 0
    finally:
        client.close()
    if stage.trimmed:
        missing, differences = missing - counted, [line for line in differences if _beside(line, stage)]
    paged = judge(stage.receipts(), due.look(), stage.deaths())
    produced = sum(len(account.spans) for account in stage.accounts)
    dropped = counted + sum(sum(account.dropped.values()) for account in stage.accounts)
    absent = sum(" is missing" in line for line in differences if line.startswith("spans: "))
    return Verdict(
        produced,
        dropped,
        max(abs(missing), absent),
        double,
        len(wrong) + len(differences) - absent + len(paged.untold),
        [*wrong, *differences, *paged.unasked, *paged.doubled, *paged.untold],
        paged.pages,
    )


def _beside(line: str, stage: Stage) -> bool:
    """Whether a difference is not about the time of which retention took a part: its panes and traces hold the rest."""
    table, _, rest = line.partition(": ")
    started = re.search(r"\b\d{13}\b", rest)
    if table not in ("panes", "panes_1m", "traces") or started is None:
        return table != "traces"
    around = 60_000 if table == "panes_1m" else FRONTIER_MS
    return not min(stage.gone) - AGE_MS <= int(started[0]) <= max(stage.gone) + around


def _differences(client: Client, truth: Truth, hours: bool) -> Iterator[str]:
    def rows(sql: str) -> Any:
        return client.query(sql).result_rows

    def minutes_or_hours(table: str) -> Any:
        return rows(stored.ROLL_UP.format(table=table))

    yield from (f"spans: {line}" for line in stored.spans(rows(stored.SPANS), truth))
    yield from (f"panes: {line}" for line in stored.panes(rows(stored.PANES), truth))
    yield from (f"panes_1m: {line}" for line in stored.roll_up(minutes_or_hours("panes_1m"), truth.minutes))
    yield from (f"traces: {line}" for line in stored.traces(rows(stored.TRACES), truth))
    if hours:
        yield from (f"panes_1h: {line}" for line in stored.roll_up(minutes_or_hours("panes_1h"), truth.hours))
    yield from (f"ledger: {line}" for line in stored.ledger(rows(stored.LEDGER), truth))
    yield from (f"dead letters: {line}" for line in stored.dead_letters(rows(stored.DEAD), truth))


def _accounts(client: Client, accounts: list[Account], strangers: set[str]) -> tuple[int, int, list[str]]:
    """Spans missing and double, and what is wrong, by what the producers themselves say that they made."""
    rows: dict[str, dict[tuple[str, str], Any]] = {account.service: {} for account in accounts}
    double, wrong = 0, []
    for service, trace_id, span_id, *facts in client.query(ROWS).result_rows:
        if service in strangers:
            continue
        double += (trace_id, span_id) in rows[service]
        rows[service][trace_id, span_id] = facts
    missing = 0
    for account in accounts:
        found = rows[account.service]
        made = {(trace_id, span_id): facts for trace_id, span_id, *facts in account.spans}
        lost = made.keys() - found.keys()
        explained = sum(account.dropped.values())
        if account.arrived and explained:
            wrong.append(f"{account.service} says that all arrived, and that it dropped {explained}")
        missing += max(0, len(lost) - explained)
        wrong += [f"{account.service} never made {one[0]}/{one[1]}" for one in found.keys() - made.keys()]
        wrong += [line for one in made.keys() & found.keys() if (line := _unlike(made[one], found[one]))]
    return missing, double, wrong


def _unlike(made: Any, found: Any) -> str:
    """In what a row is not as the producer made its span; empty: in nothing."""
    name, kind, said, before, after = made
    stored_name, stored_kind, end, *facts, blocked = found
    due = [said.get(fact, absent) for fact, absent in _FACTS]
    if (name, kind, due, said.get("blocked", False)) != (stored_name, stored_kind, facts, blocked):
        return f"a span {made} is stored as {found}"
    if not before - CLOCK_NS <= end <= after + CLOCK_NS:
        return f"a span that ended between {before} and {after} is stored with {end}"
    return ""
