"""How many spans a second one core takes from Kafka into ClickHouse, and what a stored span costs on disk.

The real `spanloom sink` and the real engine, both pinned to the same core, take a backlog that was stored before:
decode, price, lay out, insert exactly once, merge. `one_core` runs from the first rows in the table to the last; `cpu`
is what both used of the core meanwhile, on a busy machine the fairer figure. The reference, on the same core in the
same run, is what nobody can do without: polars decoding the same spans, and the engine inserting the same rows
ready-made. `stored` is after all merges, of spans whose ids are random and that carry no payload.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import clickhouse_connect
import polars as pl
import spans
from clickhouse_connect.driver.client import Client
from spanloom_schemas.frames import splice
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks.rows import spans as rows
from spanloom_sinks.rows.columns import encoded
from spanloom_sinks.source import Source
from spanloom_sinks.store import Store
from spanloom_stack import services

import processors

SPANS = 800_000
BLOCK = 40_000  # spans of an insert of the reference
TIMEOUT_S = 60
CORE = min(os.sched_getaffinity(0))


def main() -> None:
    processors.SPANS = SPANS
    with processors.broker() as bootstrap, engine() as (url, pid):
        processors.make_topics(bootstrap, ["llm.spans", *processors.DERIVED])
        processors.fill(bootstrap, "llm.spans", spans.batches)
        rate, used = run(bootstrap, url, pid)
        os.sched_setaffinity(0, {CORE})
        decode, insert = reference(url)
        print(f"sink.one_core {rate:.0f} spans/s")
        print(f"sink.cpu {used:.1f} us/span")
        print(f"sink.reference.decode {decode:.2f} us/span")
        print(f"sink.reference.insert {insert:.2f} us/span")
        print(f"sink.of_reference {(decode + insert) * rate / 1e4:.0f} %")
        print(f"stored {stored(url):.1f} bytes/span")


def run(bootstrap: str, url: str, engine_pid: int) -> tuple[float, float]:
    """Spans a second, and microseconds of the core a span: of the sink and the engine together."""
    environment = {
        **os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": bootstrap, "SPANLOOM_CLICKHOUSE_URL": url,
        "SPANLOOM_SINK_GROUP": f"bench-{time.time_ns()}", "SPANLOOM_SINK_METRICS_PORT": "0", "POLARS_MAX_THREADS": "1",
    }  # fmt: skip
    command = [Path(sys.executable).with_name("spanloom"), "sink"]
    with subprocess.Popen(
        ["taskset", "-c", str(CORE), *command], env=environment, stdout=subprocess.PIPE, text=True
    ) as sink:
        try:
            assert sink.stdout is not None
            if not sink.stdout.readline().startswith("ready"):
                sys.exit("the sink did not start")
            client = connect(url, "spanloom")
            (begun, first, used), deadline = (0.0, 0, 0.0), time.monotonic() + TIMEOUT_S
            while (count := int(client.command("SELECT sum(spans) FROM batches"))) < SPANS:
                if count and not first:
                    begun, first = time.monotonic(), count
                    used = processors.cpu(sink.pid) + processors.cpu(engine_pid)
                if time.monotonic() > deadline:
                    sys.exit(f"the sink stored {count} of {SPANS} spans in {TIMEOUT_S} s")
                time.sleep(0.25)  # a query takes from the same core
            rest = SPANS - first
            shares = processors.cpu(sink.pid), processors.cpu(engine_pid)
            print("us/span of sink and engine:", *(share / SPANS * 1e6 for share in shares), file=sys.stderr)
            used = sum(shares) - used
            return rest / (time.monotonic() - begun), used / rest * 1e6
        finally:
            sink.terminate()


def reference(url: str) -> tuple[float, float]:
    """Microseconds a span: of decoding by polars, of inserting finished rows by the engine."""
    now = time.time_ns() // 1_000_000
    messages = [(n, now, message) for n, message in enumerate(spans.batches(BLOCK, seed=99))]
    store, table = Store(ClickHouseSettings(clickhouse_url=url)), "reference"
    store.command(f"CREATE TABLE {table} AS spans")
    decoded = splice.decode("span_batch", messages)
    ready = encoded(rows.rows(decoded, Source("llm.spans", "reference", 0, 0), Book.load()), *rows.LABELS)
    decodes = [timed(lambda: splice.decode("span_batch", messages)) for _ in range(5)]
    inserts = [timed(partial(store.insert, table, ready, f"{n}")) for n in range(5)]
    store.close()
    return median(decodes) / BLOCK * 1e6, median(inserts) / BLOCK * 1e6


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def stored(url: str) -> float:
    """Bytes on disk a span, indexes and all: ten spans a trace, in messages as a service sends them."""
    rnd = random.Random(7)
    now = time.time_ns() // 1_000_000
    messages = list(spans.batches(100_000, seed=7))
    decoded = splice.decode("span_batch", [(n, now + 10 * n, message) for n, message in enumerate(messages)])
    frame = rows.rows(decoded, Source("llm.spans", "stored", 0, 0), Book.load())
    store, table = Store(ClickHouseSettings(clickhouse_url=url)), "measured"
    store.command(f"CREATE TABLE {table} AS spans")
    store.insert(table, with_random_ids(frame, rnd))
    store.command(f"OPTIMIZE TABLE {table} FINAL")
    parts = "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND table = {table:String}"
    found = float(store.query(parts, table=table).item())
    store.close()
    return found


@contextmanager
def engine(*, pinned: bool = True) -> Iterator[tuple[str, int]]:
    """A ClickHouse engine, on the core where `pinned`: its URL and process."""
    pin = ["taskset", "-c", str(CORE)] if pinned else []
    with tempfile.TemporaryDirectory(prefix="spanloom-bench-") as folder:
        service, url = services.engine(Path(folder) / "data", port=0)
        with subprocess.Popen([*pin, *service.command], stdout=subprocess.DEVNULL) as process:
            try:
                while not service.ready(""):
                    time.sleep(0.1)
                yield url, process.pid
            finally:
                process.terminate()


def connect(url: str, database: str) -> Client:
    return clickhouse_connect.get_client(dsn=f"{url}/{database}", autogenerate_session_id=False)


def with_random_ids(frame: pl.DataFrame, rnd: random.Random) -> pl.DataFrame:
    """The rows with ids as services make them; the ids of `spans.batches` are counted up, and would compress away."""
    ids = pl.concat([frame["trace_id"], frame["span_id"], frame["parent_id"]]).unique().to_list()
    fresh = {old: rnd.randbytes(len(old) // 2).hex() for old in ids}
    return frame.with_columns(pl.col("trace_id", "span_id", "parent_id").replace_strict(fresh))


if __name__ == "__main__":
    main()
