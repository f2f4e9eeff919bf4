"""How many spans a second one core takes from Kafka to emitted panes and traces.

The real `spanloom processor`, pinned to one core, reads a backlog that was stored before: decode, price, assemble,
window, encode, send, commit, and the alert stage behind it. The clock of `one_core` runs from its ready line to the
broker's log time of the last message of llm.panes that covers the backlog; `cpu` is what the worker used of its core in
that time, which other work on the machine makes no larger. The broker runs beside it: SPANLOOM_KAFKA_BOOTSTRAP, or one
that is started for this. Where the program of `collector` is, it takes the same spans in turn with the worker.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import collector
import otlp_spans
import spans
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from spanloom_schemas import topics
from spanloom_schemas.frames.splice import decode
from spanloom_stack import kafka, services
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

SPANS = 1_500_000
RUNS = 3
TIMEOUT_S = 120
DERIVED = tuple(name for name in topics.load() if name != "llm.spans")


def main() -> None:
    with broker() as bootstrap:
        make_topics(bootstrap, ["llm.spans", *DERIVED])
        ends = fill(bootstrap, "llm.spans", spans.batches)
        if peer := collector.program():
            make_topic(bootstrap, collector.TOPIC, like="llm.spans")
            fill(bootstrap, collector.TOPIC, otlp_spans.batches)
        ours, theirs = [], []
        for number in range(RUNS):
            make_topics(bootstrap, DERIVED)
            ours.append(run(bootstrap, f"bench-{time.time_ns()}", ends))
            said(f"run {number + 1}", *ours[-1])
            if peer:
                theirs.append(collector.run(peer, bootstrap, SPANS, cpu))
                said(f"run {number + 1}, the Collector", *theirs[-1])
        printed("processors", ours)
        if peer:
            printed("collector", theirs)


def said(whose: str, seconds: float, used: float) -> None:
    """Tell a person of one run."""
    print(f"{whose}: {SPANS / seconds:.0f} spans/s, {used / SPANS * 1e6:.1f} us/span of cpu", file=sys.stderr)


def printed(whose: str, runs: list[tuple[float, float]]) -> None:
    """Print the medians of runs."""
    print(f"{whose}.one_core {median(SPANS / seconds for seconds, _ in runs):.0f} spans/s")
    print(f"{whose}.cpu {median(used / SPANS * 1e6 for _, used in runs):.1f} us/span")


@contextmanager
def broker() -> Iterator[str]:
    """The bootstrap address of the broker to use."""
    if configured := os.environ.get("SPANLOOM_KAFKA_BOOTSTRAP"):
        yield configured
        return
    with tempfile.TemporaryDirectory(prefix="spanloom-bench-") as folder:
        service, bootstrap = services.broker(kafka.install(StackSettings().cache), Path(folder) / "data", port=0)
        with Supervisor(Path(folder)) as supervisor:
            supervisor.start(service)
            yield bootstrap


def make_topics(bootstrap: str, names: list[str] | tuple[str, ...]) -> None:
    """Make topics anew."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    known = set(admin.list_topics(timeout=20).topics)
    if old := [name for name in names if name in known]:
        for future in admin.delete_topics(old).values():
            future.result(20)
        while set(old) & set(admin.list_topics(timeout=20).topics):
            time.sleep(0.1)
    for name in names:
        make_topic(bootstrap, name, like=name)


def make_topic(bootstrap: str, name: str, like: str) -> None:
    """Make a topic with partitions and configuration of one of ours."""
    known = topics.load()[like]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, known.partitions, 1, config=known.config())])[name].result(20)


def fill(bootstrap: str, topic: str, batches: Callable[[int, int], Iterator[bytes]]) -> dict[int, int]:
    """Store a backlog; returns each partition's end."""
    begun = time.monotonic()
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "zstd", "linger.ms": 50, "acks": "1"})
    partitions = topics.load()["llm.spans"].partitions
    streams = [batches(SPANS // partitions, seed) for seed in range(partitions)]
    stored = 0
    for batch in zip(*streams, strict=True):
        for partition, message in enumerate(batch):
            while True:
                try:
                    producer.produce(topic, message, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.05)
        stored += 1
        producer.poll(0)
    if producer.flush(60):
        sys.exit("the broker did not take the backlog")
    print(f"stored {SPANS} spans in {topic} in {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return dict.fromkeys(range(partitions), stored)


def run(bootstrap: str, group: str, ends: dict[int, int]) -> tuple[float, float]:
    """Seconds that a worker needs for the backlog, and seconds of its core that it uses in that time."""
    environment = {
        **os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": bootstrap, "SPANLOOM_PROCESSOR_GROUP": group,
        "SPANLOOM_METRICS_PORT": "0", "POLARS_MAX_THREADS": "1",
    }  # fmt: skip
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen(
        ["taskset", "-c", str(core), Path(sys.executable).with_name("spanloom"), "processor"],
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        try:
            assert worker.stdout is not None
            if not worker.stdout.readline().startswith("ready"):
                sys.exit("the processor did not start")
            begun, used = time.time(), cpu(worker.pid)
            seconds = covered(bootstrap, ends) / 1000 - begun
            return seconds, cpu(worker.pid) - used
        finally:
            worker.terminate()


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def covered(bootstrap: str, ends: dict[int, int]) -> int:
    """The log time (ms) of the message of llm.panes with which every source partition is covered to its end."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition("llm.panes", 0, 0)])
    left, deadline = dict(ends), time.monotonic() + TIMEOUT_S
    while True:
        for message in consumer.consume(1000, 0.2):
            log_time = message.timestamp()[1]
            headers = decode("pane_batch", [(message.offset() or 0, log_time, message.value() or b"")]).headers
            for partition, reached in headers.select("partition", "next_offset").iter_rows():
                if partition in left and reached >= left[partition]:
                    del left[partition]
            if not left:
                consumer.close()
                return log_time
        if time.monotonic() > deadline:
            sys.exit(f"the processor did not reach {left} in {TIMEOUT_S} s")


if __name__ == "__main__":
    main()
