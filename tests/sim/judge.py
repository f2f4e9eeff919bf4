"""Whether a world that has come to rest holds the truth, and says what it would have said without a crash."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.revisions import in_effect
from spanloom_schemas import codec
from spanloom_schemas.frames import splice
from spanloom_schemas.panes import KEY
from spanloom_schemas.testing import Record

from tests.oracle import alerts, ledger, requests, stored
from tests.oracle.alerts import Said
from tests.oracle.panes import LATENCIES, SUMS, Caps, Key, LateKey, Pane, PaneKey, roll_up
from tests.oracle.spans import FUTURE_MS, SEGMENTS, TOKENS, Logged
from tests.oracle.traces import Trace, of_spans
from tests.oracle.truth import Place, Truth, truth_of
from tests.sim.world import ALERTS, HOURS, PANES, SPANS, TRACES, Processor, SinkProcess, World

ROUNDS = 40
AFTERWARDS = 2**60
"""A time (epoch ms) at which all is over."""
_COUNTS = [f"{name}_tokens" for name in (*TOKENS, *SEGMENTS)]


def settle(world: World) -> Iterator[str]:
    """Heal everything, let everybody read to the end and be idle; says what does not come to rest."""
    for process in (*world.workers, *world.sinks):
        process.crash_at = process.sleep_at = 0
        world.rejoin(process)
    for group in (world.workers, world.sinks):
        if not any(process.body is not None for process in group):
            group[0].start()
    world.rebalance()
    workers = [worker for worker in world.workers if worker.body is not None]
    _read_all(workers)
    for worker in workers:
        worker.skew_ms = 0
    behind = max([0, *(world.clock.now_ms - worker.now_ms() for worker in workers)])
    for ms in (behind + 45_000, 15_000, 15_000, 15_000):
        world.pass_ms(ms)
        for worker in workers:
            _read_all([worker])  # the empty fetch that shows idleness
            worker.beat()
        _read_all(workers)
        for worker in workers:
            worker.commit()
    sinks = [sink for sink in world.sinks if sink.body is not None]
    for _ in range(ROUNDS):
        for sink in sinks:
            for which in range(len(sink.consumer.lanes)):
                sink.read(which, 1000)
            world.pass_ms(6_000)
            sink.turn()
        if all(_rests(sink) for sink in sinks):
            return
    yield "a sink does not come to rest"


def _read_all(workers: Sequence[Processor]) -> None:
    for worker in workers:
        for _ in range(2):
            for which in range(len(worker.body.consumer.handed) if worker.body else 0):
                worker.read(which, 1000)


def _rests(sink: SinkProcess) -> bool:
    """All is stored, summed up and committed."""
    return all(lane.committed == (sink.consumer.end(*place), None) for place, lane in sink.consumer.lanes.items())


# The truth, and what the tables hold.


def truth(world: World) -> Truth:
    """What the tables must hold of the messages that were not lost with their topic."""
    logs: dict[Place, list[Logged]] = {
        Place(world.log.topic_id(SPANS), number): [] for number in range(world.log.partitions(SPANS))
    }
    for topic_id, partition, record, batch in world.produced:
        logs.setdefault(Place(topic_id, partition), []).append(Logged(record.offset, record.log_time, batch))
    by_book = {book.version: truth_of(logs, book, lambda start: caps_at(world, start)) for book in world.shelf}
    return by_book[world.book.version] if len(by_book) == 1 else _as_priced(world, by_book)


def _as_priced(world: World, by_book: dict[str, Truth]) -> Truth:
    """The truth where prices changed: of every row by the book that it says, and of sums by those of their rows."""
    told = by_book[world.book.version]
    spans, panes, late = dict(told.spans), dict(told.panes), dict(told.late)
    for row in world.database.final("spans"):
        key = (row["trace_id"], row["span_id"], row["kind"], row["end"] // 60_000_000_000 * 60)
        if key in spans:
            spans[key] = by_book[row["price_version"]].spans[key]
    for row in world.database.final("panes"):
        place = PaneKey(row["topic_id"], row["partition"], row["start"], Key(*(row[name] for name in Key._fields)))
        behind, truth = LateKey(*place, row["late_offset"]), by_book[row["price_version"]]
        if behind in late:
            late[behind] = truth.late[behind]
        if place in panes and row["late_offset"] < 0:
            panes[place] = truth.panes[place]
    late_spans = [span for span in spans.values() if span.timeliness != "on_time"]
    minutes, hours = (roll_up(panes, late_spans, seconds) for seconds in (60, 3600))
    traces = _traces_as_priced(world, [*(truth.traces for truth in by_book.values()), of_spans(spans.values())])
    return replace(told, spans=spans, panes=panes, late=late, traces=traces, minutes=minutes, hours=hours)


def _traces_as_priced(world: World, choices: Sequence[dict[str, Trace]]) -> dict[str, Trace]:
    """Of each trace the truth that has its cost, by one book or, where it is amended, by those of its spans."""
    told = dict(choices[0])
    for row in world.database.final("traces"):
        for traces in choices:
            trace = traces.get(row["trace_id"])
            if trace and not row["superseded"] and trace.sums["cost"] == (row["cost"] or 0):
                told[row["trace_id"]] = trace
    return told


def mixed(world: World) -> Iterator[str]:
    """Panes of two price books at once, or of the old one where the new one told them too."""
    versions: dict[tuple[str, int, int], set[str]] = defaultdict(set)
    for row in world.database.whole_panes():
        versions[row["topic_id"], row["partition"], row["start"]].add(row["price_version"])
    yield from (f"pane {place} is priced by {sorted(found)}" for place, found in versions.items() if len(found) > 1)
    if len(world.shelf) == 2:
        old, new = (book.version for book in world.shelf)
        rows = (row for row in world.database.rows.get("panes", ()) if row["late_offset"] < 0)
        told = {(r["topic_id"], r["partition"], r["start"]) for r in rows if r["price_version"] == new}
        yield from (f"pane {place} is priced by the old book" for place in told if old in versions[place])


def caps_at(world: World, start: int) -> Caps:
    """The caps that the announced revisions have for a pane."""
    own = in_effect(start, world.revisions)
    assert own.pane_keys is not None
    assert own.pane_labels is not None
    return Caps(own.pane_keys, own.pane_labels)


def differences(world: World, truth: Truth) -> list[str]:
    """Where the tables hold other than the truth."""
    if world.trimmed or world.recreated:
        return [*doubled(world), *mixed(world), *untrue(world, truth)]
    rows = world.database
    return [
        *doubled(world),
        *mixed(world),
        *stored.spans(span_rows(world), truth),
        *stored.traces(trace_rows(world), truth),
        *stored.panes(pane_rows(world), truth),
        *rolled_up(world, truth),
        *trace_hours(world),
        *books(world, truth),
        *stored.dead_letters(
            [(row["stage"], row["topic_id"], row["partition"], row["offset"]) for row in rows.final("dead_letters")
             if row["topic"] == SPANS], truth,
        ),
    ]  # fmt: skip


def doubled(world: World) -> Iterator[str]:
    """Rows of `spans` that were inserted twice."""
    places = Counter(
        (r["topic_id"], r["partition"], r["offset"], r["position"]) for r in world.database.rows.get("spans", ())
    )
    yield from (f"span at {place} was inserted {count} times" for place, count in places.items() if count > 1)


def untrue(world: World, truth: Truth) -> Iterator[str]:
    """Where messages were lost with their log: the tables hold the truth of a prefix, whole where none was lost."""
    for row in span_rows(world):
        span = truth.spans.get(tuple(row[:4]))  # type: ignore[call-overload]
        if span is None:
            yield f"span {row[:2]} was never made"
        else:  # which of its copies stands, and whether that was late, depends on what was lost
            yield from stored.span_differences(span, row[4:], since="parent_id")
    yield from _unstored(world)
    yield from _kept_traces(world, truth)
    yield from _stale(world)
    due: dict[PaneKey, Pane] = {key: pane for key, pane in truth.panes.items() if _kept(world, key, pane)}
    for topic_id, partition, start, late_offset, *rest in pane_rows(world):
        place, count = PaneKey(topic_id, partition, start, Key(*rest[:10])), rest[10]
        if late_offset >= 0:
            continue
        pane = truth.panes.get(place)
        if pane is None or count > pane.sums["spans"]:
            yield f"{place} has {count} spans, should have {pane.sums['spans'] if pane else 'none'}"
        elif place in due and count < pane.sums["spans"]:
            yield f"{place} has {count} spans of {pane.sums['spans']}, of which none was lost"
        else:
            yield from stored.pane_differences(f"{place} after {count} spans", rest[10:], pane.prefix(count))
        due.pop(place, None)
    yield from (f"{place} is missing, of which nothing was lost" for place in due)


def _kept_traces(world: World, truth: Truth) -> Iterator[str]:
    """Differences of traces of which nothing was lost, whether a processor had read them before or not."""
    starts = {(world.log.topic_id(SPANS), n): world.log.start(SPANS, n) for n in range(world.log.partitions(SPANS))}
    kept = {
        name: trace
        for name, trace in truth.traces.items()
        if all(place in starts and offset >= starts[place] for place, offset in trace.first.items())
    }
    yield from stored.traces([row for row in trace_rows(world) if row[0] in kept], replace(truth, traces=kept))


def _stale(world: World) -> Iterator[str]:
    """Minutes that are summed up to something else than their panes and late spans are, and hours than their traces."""
    for start, held in world.database.rolled_up["panes_1m"].items():
        _, due = world.database._minute(start)
        for key in held.keys() | due.keys():
            mine, theirs = (
                {name: count for name, count in sums.get(key, Counter()).items() if count and name != "revision"}
                for sums in (held, due)
            )
            if mine != theirs:
                yield f"panes_1m: {start} of {key} is {mine}, should be {theirs}"
    yield from trace_hours(world)


def _unstored(world: World) -> Iterator[str]:
    """Spans of messages that the log still has, and `spans` has not."""
    held = {(r["topic_id"], r["partition"], r["offset"], r["position"]) for r in world.database.rows.get("spans", ())}
    for topic_id, partition, record, batch in world.produced:
        if topic_id == world.log.topic_id(SPANS) and record.offset >= world.log.start(SPANS, partition):
            for position in range(len(batch["spans"]) if batch else 0):
                if (topic_id, partition, record.offset, position) not in held:
                    yield f"span {position} of message {record.offset} of {topic_id}[{partition}] is not stored"


def _kept(world: World, key: PaneKey, pane: Pane) -> bool:
    """The log still has all of a pane, and no message that it has lost can have held a span of it."""
    if key.topic_id != world.log.topic_id(SPANS):
        return False
    start = world.log.start(SPANS, key.partition)
    if start == 0:
        return True
    own = [record for topic, partition, record, _ in world.produced if (topic, partition) == key[:2]]
    clock = max(record.log_time for record in own[: start + 1])
    return all(span.offset >= start for span, _, _ in pane.members) and key.start > clock + FUTURE_MS


def span_rows(world: World) -> list[tuple[Any, ...]]:
    """The rows of `spans` as `stored.SPANS` has them."""
    return [
        (
            *(r["trace_id"], r["span_id"], r["kind"], r["end"] // 60_000_000_000 * 60),
            *(r["topic_id"], r["partition"], r["offset"], r["position"], r["log_time"], r["log_clock"]),
            ("on_time", "late", "future_dated")[r["timeliness"]],
            *(r["parent_id"], r["name"], r["start"], r["end"], max(0, r["end"] - r["start"])),
            *(r[name] for name in Key._fields),
            *(r["error"], r["blocked"], r["block_reason"], *(r[name] for name in _COUNTS), r["cached"]),
            *(r["usage"] == "estimated", r["ttft"], r["tpot"], r["cost"], r["cost_status"]),
            *(len(r["documents"]), sum(d["cited"] for d in r["documents"])),
            *([s["name"] for s in r["scores"]], [s["value"] for s in r["scores"]]),
        )
        for r in world.database.final("spans")
    ]


def trace_rows(world: World) -> list[tuple[Any, ...]]:
    """The rows of `trace_summaries` as `stored.TRACES` has them."""
    names = ("spans", "errors", "blocks", "cost", "unpriced", "estimated", "cache_hits", "documents", "cited", *_COUNTS)
    return [
        (row["trace_id"], row["start"], row["end"], row["reason"], *(row[name] or 0 for name in names))
        for row in world.database.final("traces")
        if not row["superseded"]
    ]


def pane_rows(world: World) -> list[tuple[Any, ...]]:
    """The rows of `panes` as `stored.PANES` has them."""
    database = world.database
    late = [row for row in database.final("panes") if row["late_offset"] >= 0]
    return [
        (
            *(row["topic_id"], row["partition"], row["start"], row["late_offset"]),
            *(row[name] for name in (*Key._fields, *SUMS)),
            *([bucket[part] for bucket in row[f"{name}_sketch"]] for name in LATENCIES for part in ("index", "count")),
            *([score[part] for score in row["scores"]] for part in ("name", "count", "sum")),
            *([block[part] for block in row["block_reasons"]] for part in ("reason", "count")),
            *([span[part] for span in row["worst"]] for part in ("why", "value", "span_id", "trace_id")),
        )
        for row in [*database.whole_panes(), *late]
    ]


def rolled_up(world: World, truth: Truth) -> Iterator[str]:
    """Differences of the roll-ups: sums, and latencies within the sketch's error."""
    for table, told in (("panes_1m", truth.minutes), ("panes_1h", truth.hours)):
        held = {
            (window, Key(*key)): sums
            for window, keys in world.database.rolled_up[table].items()
            for key, sums in keys.items()
            if sums["spans"]
        }
        for key in sorted(held.keys() | told.keys(), key=repr):
            if key not in held or key not in told:
                yield f"{table}: window {key} {'is missing' if key in told else 'should not be there'}"
                continue
            for name in SUMS:
                if held[key][name] != told[key].sums[name]:
                    yield f"{table}: {name} of {key} is {held[key][name]}, should be {told[key].sums[name]}"
            for name in LATENCIES:
                sketch = {
                    part[1]: count for part, count in held[key].items() if isinstance(part, tuple) and part[0] == name
                }
                for line in stored.sketch_differences(name, sketch, getattr(told[key], name)):
                    yield f"{table}: {key}: {line}"


def trace_hours(world: World) -> Iterator[str]:
    """Hours of traces that are summed up to something else than the traces are."""
    for row in world.database.rows.get("traces_1h_closed", ()):
        hour = row["start"] // 1000
        held, told = world.database.trace_hours[hour], world.database.traces_of(hour)
        if held != told:
            yield f"traces_1h: hour {hour} is {dict(held)}, should be {dict(told)}"


def books(world: World, truth: Truth) -> Iterator[str]:
    """Differences of the ledger."""
    batches = [
        {**row, "dropped": row["dropped_items"], "shed": row["shed_items"], "spans": [None] * row["spans"]}
        for row in world.database.final("batches")
    ]
    held = ledger.of_batches(batches)
    for life in held.keys() | truth.ledger.keys():
        if held.get(life) != truth.ledger.get(life):
            yield f"the ledger has {held.get(life)} of {life}, should have {truth.ledger.get(life)}"


# What it would have said without a crash.


def calm(world: World) -> World:
    """A world in which nothing happens but that the same messages came, are read and stored."""
    other = World(world.log.partitions(SPANS), world.book, world.said)
    other.revisions = world.revisions
    for _, partition, record, batch in world.produced:
        other.clock.now_ms = record.log_time
        value = other.log.append(SPANS, partition, record.value)
        other.produced.append((other.log.topic_id(SPANS), partition, value, batch))
    other.clock.now_ms, other.elapsed_ms = world.clock.now_ms, world.elapsed_ms
    list(settle(other))
    return other


def disagreements(world: World, other: World) -> Iterator[str]:
    """Where the tables of two worlds differ, but for what says when and how it was emitted."""
    for table, what in (("spans", _same_span), ("batches", _same), ("panes", _same_pane), ("traces", _same_trace)):
        mine, theirs = (Counter(map(what, _final(each, table))) for each in (world, other))
        yield from (f"{table}: only after crashes there is {row[:300]}" for row in mine - theirs)
        yield from (f"{table}: only without crashes there is {row[:300]}" for row in theirs - mine)
    if world.database.rolled_up != other.database.rolled_up:
        mine, theirs = (
            Counter(
                f"{table} {window} {key} {sorted(((n, v) for n, v in sums.items() if n != 'revision' and v), key=repr)}"
                for table, windows in each.database.rolled_up.items()
                for window, keys in windows.items()
                for key, sums in keys.items()
                if sums["spans"]
            )
            for each in (world, other)
        )
        yield from (f"only after crashes there is {row[:300]}" for row in mine - theirs)
        yield from (f"only without crashes there is {row[:300]}" for row in theirs - mine)


def _final(world: World, table: str) -> Iterable[dict[str, Any]]:
    if table == "traces":
        return [row for row in world.database.final(table) if not row["superseded"]]
    if table == "panes":
        return [*world.database.whole_panes(), *(r for r in world.database.final(table) if r["late_offset"] >= 0)]
    return world.database.final(table)


def _same(row: dict[str, Any], *without: str) -> str:
    return json.dumps({name: value for name, value in row.items() if name not in without}, sort_keys=True, default=repr)


def _same_span(row: dict[str, Any]) -> str:
    return _same(row)


def _same_pane(row: dict[str, Any]) -> str:
    # A late row may be told before a new revision is announced that its span's own time falls into.
    late = row["late_offset"] >= 0
    return _same({**row, "revision": 0 if late else row["revision"]}, "next_offset", "log_clock", "log_time", "final")


def _same_trace(row: dict[str, Any]) -> str:
    # What cut a segment is told of it as long as it is the only one; the oracle looks at all other reasons.
    where = ("topic_id", "partition", "first_offset", "revision", "log_clock", "log_time", "amended")
    return _same(row, *where, "state", "reason")


# Alerts.


def alert_differences(world: World) -> Iterator[str]:
    """Live, with all restarts, against a backtest of the same log of llm.panes."""
    live = [codec.decode(record.value)[2] for record in world.log.read(ALERTS, 0, 0)]
    engine = Engine(world.rules)
    backtest = fold_all(engine, world.log.read(PANES, 0, 0))
    for partition in range(world.log.partitions(TRACES)):
        backtest += requests_of(engine, world, partition)
    mine, theirs = _by_group(live), _by_group(backtest)
    for group in sorted(mine.keys() | theirs.keys()):
        if mine[group] != theirs[group]:
            yield f"alerts of {group}: live {_said(mine[group])}, in a backtest {_said(theirs[group])}"
    hours = {(h["start"], *(h[name] for name in KEY)): h for h in engine.closed_hours()}
    own = (codec.decode(record.value)[2] for record in world.log.read(HOURS, 0, 0))
    said = alerts.alerts_of(_told(world, PANES, 0), world.rules_said)
    for partition in range(world.log.partitions(TRACES)):
        said += requests.requests_of(_told(world, TRACES, partition), world.rules_said, partition, AFTERWARDS)
    # An hour of the rules that is closed keeps the prices that it was closed with, which the oracle does not know of.
    budgets = {rule["name"] for rule in world.rules_said if "budget" in rule and len(world.shelf) > 1}
    said = [alert for alert in said if alert.rule not in budgets]
    yield from _unlike_the_oracle([a for a in backtest if a["rule"] not in budgets], alerts.by_group(said))
    if {(h["start"], *(h[name] for name in KEY)): h for h in own} != hours:
        yield "the closed hours differ from those of a backtest"


def _told(world: World, topic: str, partition: int) -> list[alerts.Told]:
    return [alerts.Told(r.offset, r.log_time, codec.decode(r.value)[2]) for r in world.log.read(topic, partition, 0)]


def _unlike_the_oracle(backtest: list[Any], told: dict[Any, list[Said]]) -> Iterator[str]:
    own = alerts.by_group(
        Said(
            a["rule"],
            tuple((label["key"], label["value"]) for label in a["group"]),
            *(a[name] for name in Said._fields[2:]),
        )
        for a in backtest
    )
    for rule, group in sorted(own.keys() | told.keys()):
        mine, due = own.get((rule, group), []), told.get((rule, group), [])
        if mine != due:
            yield f"alerts of {rule} {group}: the engine says {_plain(mine)}, should say {_plain(due)}"


def _plain(said: list[Said]) -> str:
    return ", ".join(f"{a.state} at {a.at} of {a.window_end}" + a.partial * " partially" for a in said) or "nothing"


def fold_all(engine: Engine, records: Sequence[Record]) -> list[Any]:
    """What an engine says of a log of llm.panes."""
    messages = [(record.offset, record.log_time, record.value) for record in records]
    decoded = splice.decode("pane_batch", messages)
    return list(engine.fold(decoded.headers, decoded.rows))


def requests_of(engine: Engine, world: World, partition: int) -> list[Any]:
    """What an engine says of a partition of llm.traces, on which nothing more comes."""
    messages = [(record.offset, record.log_time, record.value) for record in world.log.read(TRACES, partition, 0)]
    decoded = splice.decode("trace_batch", messages)
    return [*engine.fold_traces(decoded.headers, decoded.rows), *engine.idle_traces(partition, AFTERWARDS)]


def _by_group(records: Iterable[Any]) -> dict[str, list[str]]:
    """By rule and group its records in order; one that was sent again, word for word, counts once."""
    found: dict[str, list[str]] = defaultdict(list)
    for alert in records:
        group = f"{alert['rule']} {','.join(label['value'] for label in alert['group'])}"
        record = json.dumps(alert, sort_keys=True)
        if record not in found[group]:
            found[group].append(record)
    return found


def _said(records: list[str]) -> str:
    told = [json.loads(record) for record in records]
    return ", ".join(f"{each['state']} at {each['at']} of {each['window_end']}" for each in told) or "nothing"
