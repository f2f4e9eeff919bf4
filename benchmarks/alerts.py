"""What a restart of the alert stage costs: llm.panes read again, back to the beginning of the open hour.

`alerts.reread`: rows of panes a second that one core decodes and folds, with the default rules, behind a commit that
says that everything was judged already. The log is what four source partitions say in five minutes: each second the
panes that changed, so that a pane's key comes about ten times. Polls are as the worker's. `alerts.reread_fold`: without
decoding.
"""

import os
import random
import time
from collections.abc import Iterator
from importlib.resources import files
from statistics import median
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported

import polars as pl
from spanloom_processors.core.alerts.engine import Engine
from spanloom_processors.core.alerts.rules import Rule, parse
from spanloom_processors.core.clock import LATENESS_MS, PANE_MS
from spanloom_schemas.frames.splice import Message, decode, encode, item_columns
from spanloom_schemas.panes import KEY

MINUTES = 5
PARTITIONS = 4
KEYS = 60
POLL = 200  # messages, as app.POLL_RECORDS
RUNS = 3
BEGIN = 1_790_000_000_000 // 3_600_000 * 3_600_000

Row = dict[str, Any]


def main() -> None:
    log = list(messages())
    polls = [log[first : first + POLL] for first in range(0, len(log), POLL)]
    rules = parse(files("spanloom_processors").joinpath("rules", "default.yaml").read_text("utf-8"))
    runs = [reread(polls, rules) for _ in range(RUNS)]
    rows = median(rows for rows, _, _ in runs)
    decoding, folding = (median(run[part] for run in runs) for part in (1, 2))
    print(f"alerts.reread {rows / (decoding + folding):.0f} rows/s")
    print(f"alerts.reread_fold {rows / folding:.0f} rows/s")


def reread(polls: list[list[Message]], rules: list[Rule]) -> tuple[int, float, float]:
    """Rows read, and CPU seconds spent on decoding and on folding them."""
    engine = Engine(rules)
    engine.restore([], [], judged=BEGIN + MINUTES * 60_000 + 60_000)
    rows, decoding, folding = 0, 0.0, 0.0
    for poll in polls:
        begun = time.process_time()
        decoded = decode("pane_batch", poll)
        read = time.process_time()
        engine.fold(decoded.headers, decoded.rows)
        rows += decoded.rows.height
        decoding += read - begun
        folding += time.process_time() - read
    return rows, decoding, folding


def messages() -> Iterator[Message]:
    """The log of llm.panes: in each second a message of every source partition, and a tick."""
    rng = random.Random(1)
    keys = [_key(number) for number in range(KEYS)]
    offset = 0
    for second in range(1, MINUTES * 60):
        now = BEGIN + second * 1000
        for partition in range(PARTITIONS):
            rows = list(_changed(rng, keys, now))
            yield offset, now, encode("pane_batch", _header(partition, now), pl.DataFrame(rows, schema=_COLUMNS))
            offset += 1
        yield offset, now, encode("pane_batch", _header(-1, now), pl.DataFrame(schema=_COLUMNS))
        offset += 1


_COLUMNS = item_columns("pane_batch")


def _changed(rng: random.Random, keys: list[Row], now: int) -> Iterator[Row]:
    """The rows of the open pane and, while spans may still come for it, of the one before; nine keys in ten changed."""
    start = now // PANE_MS * PANE_MS
    for pane in [start, *([start - PANE_MS] if now < start + LATENESS_MS else [])]:
        seen = min(now - pane, PANE_MS) // 1000 + (now - pane) // 1000 + 1
        yield from (_row(rng, key, pane, seen * 3) for key in keys if rng.random() < 0.9)


def _key(number: int) -> Row:
    kind = ("request", "llm", "retrieval", "tool")[number % 4]
    named = {"environment": "prod", "service": f"service-{number % 5}", "kind": kind, "request": kind == "request"}
    return dict.fromkeys(KEY, "") | named | {"model": f"model-{number % 3}", "tenant": f"tenant-{number}"}


def _row(rng: random.Random, key: Row, start: int, spans: int) -> Row:
    buckets = [{"index": index, "count": spans // 12 + 1} for index in sorted(rng.sample(range(1700, 1900), 12))]
    worst = [{"why": why, "value": n, "trace_id": f"{n:032x}", "span_id": f"{n:016x}"} for why in ("slow", "costly")
             for n in range(3)]  # fmt: skip
    nested = {"duration_sketch": buckets, "ttft_sketch": buckets, "tpot_sketch": [], "worst": worst}
    counts = {"errors": 0, "blocks": 0, "cost": spans * 1_000_000, "unpriced": 0, "output_tokens": spans * 100}
    return dict.fromkeys(_COLUMNS) | key | nested | counts | {"start": start, "spans": spans, "final": False}


def _header(partition: int, now: int) -> Row:
    return {
        "topic": "llm.spans", "topic_id": "a", "partition": partition, "partitions": PARTITIONS, "revision": 1,
        "log_clock": now, "progress": now, "next_offset": now // 1000, "sent": now * 1_000_000, "overflow": [],
    }  # fmt: skip


if __name__ == "__main__":
    main()
