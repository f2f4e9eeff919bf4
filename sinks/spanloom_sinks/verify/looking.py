"""Asks the tables, one window of time or of offsets at a time, and sums up the answers as facts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from spanloom_schemas.frames import splice

from spanloom_sinks import amendments
from spanloom_sinks.store import Store
from spanloom_sinks.verify import comparisons, statements
from spanloom_sinks.verify.facts import Compared, Contents, Ledger, Messages, Offsets, Told, Traces, Window
from spanloom_sinks.verify.settled import FOREVER, Place
from spanloom_sinks.verify.settled import Told as Progress
from spanloom_sinks.verify.topics import Topics

SPANS_AT_ONCE = 1_000_000
LONGEST = 6 * 3600  # seconds of a window
_DAY = 86_400
_FORTNIGHT = 14 * _DAY
_MESSAGES_AT_ONCE = 3_000_000  # of the ledger
_LOOKED_INTO = 200  # lives, gaps and messages of a window
_SUSPECTS = 20_000  # traces of a window
_IDS = 200  # trace ids a statement
_RUN = 1_000  # messages of a gap that are read
_SLOWEST_MS = 60_000  # a message that a producer numbered comes, or is given up, within this time
_UNDER_WAY_MS = 10_000  # how far the clocks of a broker and the tables' server may be apart
_BOUND = 0.006  # of the sketches' relative error

_COMPARISONS = {
    "panes": (comparisons.PANES, comparisons.PANES_WRONG),
    "windows": (comparisons.MINUTES, comparisons.MINUTES_WRONG),
    "hours": (comparisons.HOURS, comparisons.HOURS_WRONG),
    "trace_hours": (comparisons.TRACE_HOURS, comparisons.TRACE_HOURS_WRONG),
}

Bounds = dict[str, Any]


def bounds(topic_id: str, places: Sequence[Place], asked: int) -> Bounds:
    """The parameters that say up to where each partition is at rest; the topics were asked at `asked` (epoch ms)."""
    return {
        "topic_id": topic_id,
        "partitions": [place.partition for place in places],
        "panes": [place.panes for place in places],
        "offsets": [place.told.next_offset for place in places],
        "traces": [place.traces for place in places],
        "traces_stored": min((place.traces_stored for place in places), default=0),
        "ends": [place.high for place in places],
        "asked": asked - _UNDER_WAY_MS,
        "settled": min((place.panes for place in places), default=0) // 1000,
        "settled_hours": min((place.hours for place in places), default=0) // 1000,
    }


class Tables:
    """The tables of a database. Raises StoreError."""

    def __init__(self, store: Store, topics: Topics | None) -> None:
        self._store, self._topics = store, topics

    def _row(self, sql: str, **parameters: Any) -> dict[str, Any]:
        return next(self._rows(sql, **parameters), {})

    def _rows(self, sql: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        used = {name: value for name, value in parameters.items() if f"{{{name}:" in sql}
        return self._store.query(sql, **used).iter_rows(named=True)

    def now(self) -> int:
        """The server's time, epoch ms."""
        return int(self._row(statements.NOW)["now"])

    def written(self) -> int:
        """The log time (epoch ms) of the newest message of llm.panes that is in the tables."""
        return int(self._row(statements.WRITTEN).get("panes") or 0)

    def kept(self, *tables: str) -> dict[str, int]:
        """Days that rows of these tables are kept, where it is known."""
        found = self._rows(statements.RETENTION, names=list(tables))
        days = {row["name"]: re.search(r"toIntervalDay\((\d+)\)", row["engine_full"]) for row in found}
        return {table: int(found[1]) for table, found in days.items() if found}

    def windows(self, since: int, until: int) -> list[Window]:
        """The range cut into windows of whole minutes that hold about a million spans each, or six hours."""
        step = 60 if until - since <= _FORTNIGHT else 3600
        cut, at, held = [], since, 0
        for row in self._rows(statements.DENSITY, since=since, until=until, step=step):
            if held and (held + row["spans"] > SPANS_AT_ONCE or row["at"] - at >= LONGEST) and row["at"] > at:
                cut.append(Window(at, row["at"]))
                at, held = row["at"], 0
            held += row["spans"]
        return [*cut, Window(at, until)] if at < until else cut

    def days(self, since: int, until: int) -> list[Window]:
        """The whole hours that touch the range, cut into days."""
        first, last = since // 3600 * 3600, -(-until // 3600) * 3600
        return [Window(at, min(at + _DAY, last)) for at in range(first, last, _DAY)]

    def places(self, since: int, until: int) -> list[dict[str, Any]]:
        """What `batches` holds of the range (epoch ms), by topic id and partition, the newest first."""
        return list(self._rows(statements.PLACES, since=since, until=until))

    def places_by_tables(self, topic_id: str, held: Sequence[Mapping[str, Any]], now: int) -> list[Place]:
        """Places where the topics are not asked: a partition that has been still for a minute is quiet."""
        clocks = {row["partition"]: row for row in self._rows(statements.CLOCKS, topic_id=topic_id)}
        return [
            _by_clocks(row, clocks.get(row["partition"], {"stored": 0, "told": 0}), now)
            for row in held
            if row["topic_id"] == topic_id
        ]

    def compare(self, check: str, window: Window, at: Bounds) -> Compared:
        """Panes, minutes (`windows`), hours or hours of traces of a window against what they sum up."""
        asked = {**at, **window._asdict()} | ({"settled": at["settled_hours"]} if check == "hours" else {})
        totals, examples = _COMPARISONS[check]
        row = self._row(totals, **asked)
        shown = [_example(each) for each in self._rows(examples, **asked)] if row["differ"] else []
        return Compared(
            row["compared"], row["raw"] or 0, row["told"] or 0, row["overflowed"], row["differ"], shown=tuple(shown)
        )

    def late(self, window: Window, at: Bounds) -> Compared:
        """Late and future-dated spans of a window against the late rows, by which alerts know them."""
        row = self._row(statements.LATE, **at, **window._asdict())
        return Compared(row["raw"] or 0, row["raw"] or 0, row["told"] or 0, differ=row["untold"] or 0)

    def quantiles(self, window: Window, at: Bounds) -> Compared:
        """p50, p95 and p99 of sketches against those of the raw rows, by minute, service and kind."""
        row = self._row(statements.QUANTILES, **at, **window._asdict(), bound=_BOUND)
        shown = tuple(row["shown"].splitlines()) if row["shown"] else ()
        return Compared(row["compared"], differ=row["differ"], worst=row["worst"] or 0.0, shown=shown)

    def contents(self, window: Window, at: Bounds) -> Contents:
        """Counts of the spans of a window."""
        rows = list(self._rows(statements.CONTENTS, **window._asdict()))
        other = self._row(statements.OTHERS, **window._asdict()).get("spans") or 0
        total = {
            name: sum(row[name] for row in rows) for name in ("spans", "late", "future_dated", "unpriced", "calls")
        }
        prices = tuple(
            (row["topic_id"], row["partition"], row["price_version"], row["calls"], row["first"], row["last"])
            for row in rows
            if row["calls"]
        )
        beyond = self._row(statements.BEYOND, **at, **window._asdict()).get("rows") or 0 if self._topics else 0
        mispriced = tuple(tuple(row.values()) for row in self._rows(comparisons.PRICED, **at, **window._asdict()))
        twice = self._row(statements.TWICE, **window._asdict())
        found = Contents(**total, other=other, prices=prices, beyond=beyond, mispriced=mispriced)
        return found._replace(twice=twice["more"] or 0, twice_of=tuple(twice["examples"]))

    def told(self, since: int, until: int) -> Told:
        """Summaries of traces that began in the range (epoch s)."""
        rows = self._rows(statements.TOLD, since=since, until=until)
        return Told([(row["state"], row["reason"], bool(row["amended"]), row["traces"]) for row in rows])

    def dead(self, since: int, until: int) -> list[tuple[str, str, str, int]]:
        """Dead letters of messages of the range (epoch ms): topic, stage, reason, messages."""
        return [tuple(row.values()) for row in self._rows(statements.DEAD, since=since, until=until)]

    def traces(self, window: Window, at: Bounds) -> Traces:
        """Traces that have spans in a window; those that are not as their summary are looked up whole."""
        asked = {**at, **window._asdict()}
        row = self._row(statements.TRACES, **asked)
        suspects = row["compared"] - row["same"]
        if not suspects:
            return Traces(row["compared"])
        found = self._store.query(statements.SUSPECTS, **window._asdict(), limit=_SUSPECTS)
        if found.is_empty():  # they have settled since they were counted
            return Traces(row["compared"])
        frame = pl.concat([self._whole(part, at) for part in found.iter_slices(_IDS)])
        settled, told = pl.col("settled") == 1, pl.col("rows") > 0
        left = (pl.col("adds_up") == 1) & (pl.col("spans") > amendments.SPANS_AT_ONCE)
        wrong = frame.filter((pl.col("same") == 0) & settled & ~left)
        return Traces(
            compared=row["compared"],
            absent=wrong.filter(~told).height,
            differ=wrong.filter(pl.col("rows") == 1).height,
            doubled=wrong.filter(pl.col("rows") > 1).height,
            in_segments=frame.filter((pl.col("same") == 0) & settled & left).height,
            in_flight=frame.filter((pl.col("same") == 0) & ~settled).height,
            unexamined=max(0, suspects - found.height),
            shown=tuple(_trace(each) for each in wrong.head(statements.SHOWN).iter_rows(named=True)),
        )

    def _whole(self, suspects: pl.DataFrame, at: Bounds) -> pl.DataFrame:
        ids = suspects["trace_id"].to_list()
        extent = self._row(statements.EXTENTS, ids=ids)
        known = [value for value in (extent.get("first"), extent.get("last")) if value]
        since = min([int(suspects["first_end"].min()), *known]) - 660  # type: ignore[arg-type]
        until = max([int(suspects["last_end"].max()), *known]) + 600  # type: ignore[arg-type]
        asked = {**at, "ids": ids, "since": since, "until": until}
        used = {name: value for name, value in asked.items() if f"{{{name}:" in statements.WHOLE}
        return self._store.query(statements.WHOLE, **used)

    def messages(self, run: Offsets, low: int) -> Messages:
        """The messages of a run of offsets against their rows. `low`: the first that the topic still holds."""
        asked = {**run._asdict(), "limit": _LOOKED_INTO}
        row = {name: value or 0 for name, value in self._row(statements.MESSAGES, **asked).items()}
        counts = {"twice": row["twice"], "more": row["more"]}
        shown = []
        if row["more"] or row["twice"]:
            shown += [
                f"offset {r['offset']:,} of partition {run.partition} held {r['said']:,} spans, "
                f"{r['found']:,} rows have it"
                for r in self._rows(statements.MORE, **asked)
            ]
        if row["fewer"]:
            copies, lost, lines = self._fewer(run, list(self._rows(statements.FEWER, **asked)), low)
            counts |= {"copies": copies, "lost": lost, "unexplained": row["fewer"] - copies - lost}
            shown += lines
        gaps, lines = self._gaps(run, [(r["first"], r["last"]) for r in self._rows(statements.GAPS, **asked)], low)
        return Messages(row["messages"], row["said"], row["found"], **counts, **gaps, shown=tuple(shown + lines))

    def _fewer(self, run: Offsets, short: list[dict[str, Any]], low: int) -> tuple[int, int, list[str]]:
        """Of messages that have fewer rows than spans: copies of stored spans, and what is lost."""
        offsets = [row["offset"] for row in short if row["offset"] >= low]
        if not offsets or self._topics is None:
            return 0, 0, []
        held = [message for _, message in self._topics.read(run.partition, offsets) if message is not None]
        spans = splice.decode("span_batch", held, self._topics.registry).rows.select(
            "offset", pl.col("position").cast(pl.Int64), "trace_id", "span_id", "end"
        )
        there = self._store.query(statements.POSITIONS, **run._asdict(), offsets=offsets).cast(pl.Int64)
        absent = spans.join(there, on=["offset", "position"], how="anti") if there.height else spans
        if absent.is_empty():
            return 0, 0, []
        known = pl.concat([self._known(part) for part in absent.iter_slices(_IDS)])
        lost = absent.join(known, on=["trace_id", "span_id"], how="anti") if known.height else absent
        lines = [
            f"span {row['span_id']} of trace {row['trace_id']} (offset {row['offset']:,}, position "
            f"{row['position']} of "
            f"partition {run.partition}) has no row"
            for row in lost.head(statements.SHOWN).iter_rows(named=True)
        ]
        return absent.height - lost.height, lost.height, lines

    def _known(self, spans: pl.DataFrame) -> pl.DataFrame:
        ends = spans["end"] // 1_000_000_000
        found = self._store.query(
            statements.KNOWN,
            traces=spans["trace_id"].unique().to_list(),
            since=int(ends.min()) - 120,  # type: ignore[arg-type]
            until=int(ends.max()) + 60,  # type: ignore[arg-type]
        )
        return found if found.width else pl.DataFrame(schema={"trace_id": pl.String, "span_id": pl.String})

    def _gaps(self, run: Offsets, gaps: list[tuple[int, int]], low: int) -> tuple[dict[str, int], list[str]]:
        """What offsets in no table are: without a message, with one that is not stored, or gone from the topic."""
        counts, lines = {"skipped": 0, "unstored": 0, "removed": 0}, []
        for first, last in gaps:
            gone = max(0, min(last + 1, low) - first)
            left = last + 1 - first - gone
            there = left
            if self._topics is not None and left:
                there = sum(
                    1 for _ in self._topics.run(run.partition, first + gone, min(last + 1, first + gone + _RUN))
                )
                there = left if there >= _RUN else there
            counts["removed"] += gone
            counts["unstored"] += there
            counts["skipped"] += left - there
            if gone or there:
                where = f"offset {first:,}" if first == last else f"offsets {first:,} to {last:,}"
                lines.append(f"{where} of partition {run.partition}: {gone + there:,} messages in no table")
        return counts, lines

    def ledger_parts(self, since: int, until: int) -> int:
        """In how many parts the ledger of the range (epoch ms) is to be read."""
        row = self._row(statements.LIVES, since=since, until=until)
        return 1 + int(row.get("messages") or 0) // _MESSAGES_AT_ONCE

    def ledger(self, since: int, until: int, part: int, parts: int, settled: int, kept_since: int) -> Ledger:
        """Lives of producers that sent something in the range; what came before `settled` (epoch ms) is stored."""
        asked = {"since": since, "until": until, "part": part, "parts": parts}
        row = self._row(statements.LEDGER, **asked)
        found = {
            name: row[name] or 0
            for name in ("lives", "produced", "stored", "dropped", "recovered", "duplicates", "tail_unknown")
        }
        reasons, shed = (
            tuple(sorted((word, spans) for word, spans in _pairs(row[name]) if spans)) for name in ("reasons", "shed")
        )
        lives = list(self._rows(statements.UNBALANCED, **asked, limit=_LOOKED_INTO)) if row["suspects"] else []
        judged = [self._life(life, settled, kept_since) for life in lives]
        sums = {
            name: sum(getattr(each, name) for each in judged)
            for name in ("missing", "gaps", "extra", "in_flight", "beheaded")
        }
        shown = tuple(line for each in judged for line in each.shown)[: statements.SHOWN]
        unexamined = max(0, (row["suspects"] or 0) - len(lives))
        return Ledger(**found, reasons=reasons, shed=shed, **sums, unexamined=unexamined, shown=shown)

    def _life(self, life: Mapping[str, Any], settled: int, kept_since: int) -> Ledger:
        """What a life that does not balance lacks, so far as nothing of it can still be under way."""
        who = {"producer": life["producer"], "epoch": life["epoch"]}
        row = self._row(statements.LIFE, **who)
        given_up = set(self._row(statements.GIVEN_UP, **who)["given_up"])
        if row["head"] > 0 and row["began"] < kept_since:
            return Ledger(beheaded=1)
        holes = [tuple(hole.values()) for hole in row["holes"]]
        if row["head"] > 0:
            holes.append((0, row["head"] - 1, row["began"]))
        old = [hole for hole in holes if hole[2] + _SLOWEST_MS < settled]
        gaps = sum(last + 1 - first - sum(first <= number <= last for number in given_up) for first, last, _ in old)
        unsettled = int(life["unsettled"])
        if len(old) < len(holes) or row["ended"] + _SLOWEST_MS >= settled:
            return Ledger(gaps=gaps, in_flight=max(0, unsettled), shown=_life_shown(life, gaps) if gaps else ())
        missing, extra = max(0, unsettled), max(0, -unsettled)
        return Ledger(
            missing=missing, gaps=gaps, extra=extra, shown=_life_shown(life, gaps) if missing or extra or gaps else ()
        )


def _life_shown(life: Mapping[str, Any], gaps: int) -> tuple[str, ...]:
    return (
        f"producer {life['producer']} epoch {life['epoch']}: {life['produced']:,} made, {life['stored']:,} stored, "
        f"{life['unsettled']:,} missing, {gaps:,} messages never came",
    )


def _by_clocks(row: Mapping[str, Any], clocks: Mapping[str, Any], now: int) -> Place:
    stop = row["last"] + 1
    quiet = clocks["told"] >= clocks["stored"] and now - max(clocks["stored"], row["newest"]) > _SLOWEST_MS
    clock = now if quiet else clocks["told"] - 40_000
    return Place(
        partition=row["partition"],
        low=0,
        high=stop if quiet else stop + 1,
        first=row["first"],
        stop=stop,
        stored=stop,
        stored_clock=clocks["stored"],
        told=Progress(stop if quiet else stop + 1, clock),
        summed=Progress(stop if quiet else stop + 1, clock),
        traces_stored=FOREVER if quiet else clock,
    )


def _example(row: Mapping[str, Any]) -> str:
    place = f", partition {row['at_partition']}" if "at_partition" in row else ""
    off = row["off"] or "in total as it should be, but under other keys"
    return f"{row['at_start']}{place}: {row['raw_spans']:,} spans, {row['told_spans']:,} told; off by: {off}"


def _trace(row: Mapping[str, Any]) -> str:
    told = f"its summary holds {row['told']:,}" if row["rows"] == 1 else f"{row['rows'] or 0:,} summaries"
    return f"trace {row['trace_id']} has {row['spans']:,} spans, {told}"


def _pairs(mapping: Any) -> list[tuple[str, int]]:
    """A map as Arrow brings it."""
    return list(dict(mapping or {}).items())
