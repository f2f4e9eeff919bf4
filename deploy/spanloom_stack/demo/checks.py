"""What must hold at the end of the demo: each check reads what was stored and says what it found, with numbers."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client
from spanloom_schemas.prices.book import BUCKETS, Book
from spanloom_traces import NotThere, TraceStore
from spanloom_viewer.wording import dollars

from spanloom_stack.demo.incidents import Incident
from spanloom_stack.demo.pager import Arrival, Pager
from spanloom_stack.demo.reading import Load

QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
# Half the width of a bucket of the sketch, relative to its value: 2^(1/128) - 1; the design promises 0.6 %.
BOUND = 0.006


@dataclass(frozen=True)
class Verdict:
    """Whether a check holds, and what it found."""

    holds: bool
    text: str


def ledger(client: Client) -> Verdict:
    """Produced = stored + dropped (by reason), for every life of every producer; nothing missing, every tail known."""
    (row,) = _rows(
        client,
        """SELECT count() AS producers, countIf(tail != 'closed') AS open, sum(produced) AS produced,
            sum(stored) AS stored, sumMap(dropped) AS dropped, sum(recovered) AS recovered,
            sum(abs(unsettled)) AS missing
        FROM ledger""",
    )
    (rows,) = _rows(client, "SELECT count() AS count FROM spans FINAL")
    dropped = {reason: count for reason, count in _pairs(row["dropped"]) if count}
    holds = (
        row["produced"] > 0
        and row["open"] == row["missing"] == 0
        and row["produced"] == row["stored"] + sum(dropped.values()) - row["recovered"]
        and row["stored"] == rows["count"]
    )
    why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items())) or "0"
    text = f"{row['produced']:,} spans produced = {row['stored']:,} stored + {why} dropped"
    if row["missing"] or row["open"]:
        text += f"; {row['missing']:,} missing, {row['open']} of {row['producers']} producers not closed"
    if row["stored"] != rows["count"]:
        text += f"; but the table holds {rows['count']:,}"
    return Verdict(holds, text)


def asked(client: Client, load: Load) -> Verdict:
    """Every request that people made of the chat API is stored: they count by themselves, whatever watched it."""
    (row,) = _rows(client, "SELECT count() AS requests FROM spans FINAL WHERE request AND service = 'rag-chat'")
    done = {word: load.done.get(word, 0) for word in ("answered", "blocked", "rated", "failed")}
    made, stored = sum(done.values()), row["requests"]
    counted = ", ".join(f"{count:,} {word}" for word, count in done.items() if count)
    return Verdict(0 < made == stored, f"{made:,} requests made ({counted or 'none'}), {stored:,} stored")


def traces(client: Client) -> Verdict:
    """Every trace that has a span is there once, complete, with all its spans."""
    (seen,) = _rows(client, "SELECT uniqExact(trace_id) AS traces, count() AS spans FROM spans FINAL")
    (woven,) = _rows(
        client,
        """SELECT count() AS traces, countIf(state = 'complete') AS complete, countIf(amended) AS amended,
            sum(trace_summaries.spans) AS spans, groupUniqArrayIf(reason, state != 'complete') AS reasons
        FROM trace_summaries""",
    )
    holds = 0 < seen["traces"] == woven["traces"] == woven["complete"] and seen["spans"] == woven["spans"]
    text = f"{woven['complete']:,} of {seen['traces']:,} complete, with {woven['spans']:,} of {seen['spans']:,} spans"
    if woven["amended"]:
        text += f" ({woven['amended']:,} amended by late spans)"
    if woven["reasons"]:
        text += f"; partial: {', '.join(sorted(woven['reasons']))}"
    return Verdict(holds, text)


def quantiles(client: Client) -> Verdict:
    """p50, p95 and p99 of every minute and service, from sketches, against the exact ones of the raw rows."""
    exact = exact_quantiles(
        ((row["service"], row["minute"]), row["duration"])
        for row in _rows(
            client,
            "SELECT service, toUnixTimestamp(toStartOfMinute(end)) AS minute, duration FROM spans FINAL WHERE request",
        )
    )
    sketched = {
        (row["service"], row["minute"]): row
        for row in _rows(
            client,
            """SELECT service, toUnixTimestamp(window) AS minute, requests, p50_ms, p95_ms, p99_ms FROM services_1m
            WHERE requests > 0""",
        )
    }
    if not exact or exact.keys() != sketched.keys():
        return Verdict(False, f"{len(sketched)} windows of a minute and service, where raw rows have {len(exact)}")
    errors = [
        abs(sketched[key][name] / (value / 1e6) - 1) for key, values in exact.items() for name, value in values.items()
    ]
    text = f"p50, p95, p99 of {len(exact)} minutes and services: at most {100 * max(errors):.2f} % off (bound 0.6 %)"
    return Verdict(max(errors) <= BOUND, text)


def cost(client: Client, book: Book) -> Verdict:
    """The cost of every span is its tokens times the book's rate; spans, windows and traces hold the same sum."""
    spans = _rows(
        client,
        """SELECT provider, model, service_tier, toUnixTimestamp(end) AS at, cost, input_tokens, cache_read_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens
        FROM spans FINAL WHERE cost_status = 'priced' OR input_tokens > 0 OR output_tokens > 0""",
    )
    prices = [priced(span, book) for span in spans]
    wrong = sum(price is None or price != span["cost"] for price, span in zip(prices, spans, strict=True))
    total = sum(price or 0 for price in prices)
    (stored,) = _rows(
        client,
        """SELECT (SELECT sum(cost) FROM spans FINAL) AS spans, (SELECT sum(cost) FROM panes_1m FINAL) AS windows,
            (SELECT sum(cost) FROM trace_summaries) AS traces""",
    )
    differ = [f"{name} hold {dollars(value)}" for name, value in stored.items() if value != total]
    tokens = sum(span[f"{bucket}_tokens"] or 0 for span in spans for bucket in BUCKETS)
    text = (
        f"{dollars(total)} for {tokens:,} tokens of {len(spans):,} model calls, the same in spans, windows and traces"
    )
    if wrong or differ:
        text = f"{dollars(total)} by the price book; {'; '.join([f'{wrong} spans priced otherwise', *differ])}"
    return Verdict(total > 0 and not wrong and not differ, text)


def priced(span: Mapping[str, Any], book: Book) -> int | None:
    """What a span's raw columns cost by the price book, in nano-dollars; None where the book has no rate."""
    rate = book.rate(span["provider"] or None, span["model"], span["service_tier"] or None, span["at"])
    return rate.cost(*(span[f"{bucket}_tokens"] or 0 for bucket in BUCKETS)) if rate else None


def page(client: Client, incident: Incident, load: Load, pager: Pager) -> Verdict:
    """The incident's page came, not before the incident began, with a trace that shows it; and how promptly it came."""
    arrival, begun = pager.first(incident.rule), load.begun.get(incident.name)
    if arrival is None or begun is None:
        return Verdict(False, f"{incident.rule}: no page, though {incident.title}")
    ended = datetime.fromisoformat(arrival.alert.annotations["window_end"]).timestamp()
    if ended <= begun:
        return Verdict(
            False, f"{incident.rule} paged a window that ended {begun - ended:.1f} s before anything was wrong"
        )
    trace_ids = worst(arrival)
    (stored,) = _rows(
        client, "SELECT count() AS spans FROM spans WHERE trace_id IN {ids:Array(String)}", {"ids": trace_ids}
    )
    if not stored["spans"]:
        return Verdict(False, f"{incident.rule} paged without a trace that is stored")
    after = arrival.at - ended
    when = f"{after:.1f} s after" if after >= 0 else f"{-after:.1f} s before"
    return Verdict(
        True,
        f"{incident.rule} came {when} its window ended, {arrival.at - begun:.0f} s into the incident, "
        f"with {len(trace_ids)} traces",
    )


def cause(store: TraceStore, incident: Incident, guilty: str, pager: Pager) -> Verdict:
    """One command on the worst trace of the incident's page names the span that is guilty of it."""
    arrival = pager.first(incident.rule)
    for trace_id in worst(arrival)[:1] if arrival else ():
        command = f"spanloom explain {trace_id}"
        try:
            found = store.explain(trace_id)
        except NotThere as error:
            return Verdict(False, f"{incident.rule}: {command}: {error}")
        names = {span.span_id: span.name for span in store.get_trace(trace_id).spans}
        for finding in found.findings:
            if finding.about == incident.about and names.get(finding.span_id or "") == guilty:
                return Verdict(True, f"{incident.rule}: {finding.text}: {command}")
        said = "; ".join(finding.text for finding in found.findings) or "nothing"
        return Verdict(False, f"{incident.rule}: {command} says {said}, and does not name {guilty}")
    return Verdict(False, f"{incident.rule}: no page with a trace to explain")


def worst(arrival: Arrival) -> list[str]:
    """The trace ids that a page carries, the worst first."""
    return [one for one in arrival.alert.annotations.get("trace_ids", "").split(",") if one]


def exact_quantiles(values: Iterable[tuple[Any, int]]) -> dict[Any, dict[str, int]]:
    """By key, the exact quantiles of its values: the smallest value that q of them do not exceed."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for key, value in values:
        groups[key].append(value)
    return {
        key: {name: sorted(group)[max(1, math.ceil(q * len(group))) - 1] for name, q in QUANTILES.items()}
        for key, group in groups.items()
    }


def _rows(client: Client, text: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
    return list(client.query(text, parameters=dict(parameters or {})).named_results())


def _pairs(mapping: Any) -> Iterable[tuple[str, int]]:
    """`sumMap` of a map column answers a map."""
    return dict(mapping).items()
