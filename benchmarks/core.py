"""What the processors' core costs by itself: derived spans in, panes and traces out, in CPU time of one thread.

`core.one_core` folds polls of 10 000 spans, logged at 100 000 a second, and emits every second of log time.
`core.panes`, `core.traces` and `core.summary` (the trace summary that the sink shares) say where its time goes.
`core.small_poll` is a second of a quiet service: 30 spans folded and emitted.
"""

import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported

import polars as pl
import spans as made
from spanloom_processors.core import traces
from spanloom_processors.core.columns import COLUMNS
from spanloom_processors.core.panes import Panes
from spanloom_processors.core.partition import Partition
from spanloom_processors.core.traces import Traces
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.splice import decode
from spanloom_schemas.prices.book import Book

SPANS = 500_000
POLL = 10_000
EMIT_EVERY = 10
RUNS = 3

Poll = tuple[pl.DataFrame, pl.DataFrame]


def main() -> None:
    polls = list(read(POLL))
    spent: dict[str, float] = {}
    watch(Panes, ("fold", "emit"), "panes", spent)
    watch(Traces, ("fold", "emit"), "traces", spent)
    watch(traces.traces, ("summarise",), "summary", spent)
    seconds, shares = [], []
    for _ in range(RUNS):
        spent.clear()
        seconds.append(cpu(lambda: fold(polls)))
        shares.append(dict(spent))
    print(f"core.one_core {SPANS / median(seconds):.0f} spans/s")
    summary = median(share["summary"] for share in shares)
    print(f"core.panes {median(share['panes'] for share in shares) / SPANS * 1e6:.2f} us/span")
    print(f"core.traces {(median(share['traces'] for share in shares) - summary) / SPANS * 1e6:.2f} us/span")
    print(f"core.summary {summary / SPANS * 1e6:.2f} us/span")
    print(f"core.small_poll {median(small_polls(polls[0][0])) * 1e3:.1f} ms")


def read(poll: int) -> Iterator[Poll]:
    """Polls of derived spans: a message a millisecond."""
    book, begun = Book.load(), time.time_ns() // 10**6
    messages = [(n, time.time_ns() // 10**6, batch) for n, batch in enumerate(made.batches(SPANS))]
    logged = begun + pl.col("offset")
    moved = [pl.col(name) + (logged - pl.col("log_time")) * 10**6 for name in ("start", "end")]
    for n in range(0, len(messages), poll // made.SPANS_A_MESSAGE):
        some = messages[n : n + poll // made.SPANS_A_MESSAGE]
        derived = derive(flatten(decode("span_batch", some)), book, COLUMNS)
        derived = derived.with_columns(*moved, logged.alias("log_time"))
        yield derived, derived.select("offset", "log_time").unique(maintain_order=True)


def fold(polls: list[Poll]) -> None:
    partition = Partition("bench", 0)
    for number, poll in enumerate(polls, 1):
        partition.fold(*poll)
        if number % EMIT_EVERY == 0:
            partition.emit()
    # The last traces close when the log goes on.
    after = polls[-1][1].tail(1).with_columns(pl.col("offset") + 1, pl.col("log_time") + 60_000)
    partition.fold(polls[-1][0].clear(), after)
    partition.emit()


def small_polls(spans: pl.DataFrame, seconds: int = 40) -> list[float]:
    """CPU seconds of each second of a service that makes 30 spans a second."""
    partition = Partition("bench", 0)
    costs = []
    for second in range(seconds):
        part = spans[second * 30 : (second + 1) * 30]
        later = pl.col("log_time") + second * 1_000, pl.col("start", "end") + second * 10**9
        poll = part.with_columns(pl.lit(second, pl.Int64).alias("offset"), *later)
        messages = poll.select("offset", "log_time").tail(1)
        begun = time.process_time()
        partition.fold(poll, messages)
        partition.emit()
        costs.append(time.process_time() - begun)
    return costs


def cpu(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def watch(owner: Any, names: tuple[str, ...], part: str, spent: dict[str, float]) -> None:
    """Add the CPU time of some functions to `spent`."""
    for name in names:
        watched = getattr(owner, name)

        def timed(*args: Any, _watched: Callable[..., Any] = watched) -> Any:
            begun = time.process_time()
            try:
                return _watched(*args)
            finally:
                spent[part] = spent.get(part, 0.0) + time.process_time() - begun

        setattr(owner, name, timed)


if __name__ == "__main__":
    main()
