"""What reading spans costs on one core: splice decode, flatten, derive, summarise, and fastavro for comparison.

Best of a few rounds in CPU time of this process with one polars thread, so that neighbours on the machine count less.
"""

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from spanloom_schemas import codec
from spanloom_schemas.frames import splice
from spanloom_schemas.frames.derive import derive
from spanloom_schemas.frames.spans import flatten
from spanloom_schemas.frames.traces import summarise
from spanloom_schemas.prices.book import Book
from spans import batches

SPANS = 100_000
ROUNDS = 5
T = TypeVar("T")


def measure(name: str, items: int, run: Callable[[], T]) -> T:
    """Print the least CPU time of an item over some rounds, and give back what the last round made."""
    times = []
    for _ in range(ROUNDS):
        before = time.process_time()
        made = run()
        times.append(time.process_time() - before)
    print(f"{name} {min(times) / items * 1e6:.2f} us/span", flush=True)
    return made


def main() -> None:
    """Measure each step on the rows of the one before."""
    messages = [(offset, offset, value) for offset, value in enumerate(batches(SPANS))]
    book = Book.load()
    print(f"{sum(len(value) for _, _, value in messages) / SPANS:.0f} bytes a span", file=sys.stderr)
    decoded = measure("decode.splice", SPANS, lambda: splice.decode("span_batch", messages))
    measure("decode.fastavro", SPANS // 20, lambda: [codec.decode(value) for _, _, value in messages[::20]])
    spans = measure("decode.flatten", SPANS, lambda: flatten(decoded))
    derived = measure("decode.derive", SPANS, lambda: derive(spans, book))
    measure("decode.summarise", SPANS, lambda: summarise(derived))


if __name__ == "__main__":
    main()
