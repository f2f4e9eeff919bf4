"""`spanloom processor` as a process on a real broker: spans in, panes, traces and dead letters out, come what may."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition
from spanloom_schemas import codec, topics
from spanloom_schemas.frames.splice import decode
from spanloom_schemas.partitioning import partition

PARTITIONS = topics.load()["llm.spans"].partitions
HEADER = {
    "producer": "p", "epoch": 7, "sequence": 1, "service": "chat", "environment": "test", "host": "h", "version": "1",
    "sdk": "test/1", "made": 0, "dropped": [{"reason": "queue_full", "spans": 4}], "given_up": [], "last": False,
}  # fmt: skip
NOTHING = {
    "parent_remote": False, "otel_kind": "internal", "status": "ok", "error_type": None, "context": None,
    "prompt": None, "llm": None, "retrieval": None, "tool_name": None, "block_reason": None, "scores": [],
    "events": [], "links": [], "attributes": [], "payload": None,
}  # fmt: skip
MODEL = {
    "provider": "openai", "request_model": "gpt-4o-mini", "response_model": None, "model_version": None,
    "service_tier": None, "temperature": None, "top_p": None, "max_tokens": None, "usage": "measured",
    "input_tokens": 1000, "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 100,
    "reasoning_tokens": 0, "cached": False, "batch_size": None, "time_to_first_token": 10**7, "finish_reasons": [],
}  # fmt: skip


@contextmanager
def processor(kafka: str, **settings: str) -> Iterator[SimpleNamespace]:
    """A worker that is ready; killed at the end if it still runs."""
    environment = {
        **os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": kafka, "SPANLOOM_METRICS_PORT": "0",
        "SPANLOOM_PROCESSOR_MEMBER": "one", "POLARS_MAX_THREADS": "1", **settings,
    }  # fmt: skip
    command = "from spanloom_processors.commands import processor; processor()"
    process = subprocess.Popen(
        [sys.executable, "-c", command],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    errors: list[str] = []
    reader = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready"), errors
        (metrics,) = re.findall(r"http://\S+", ready)
        yield SimpleNamespace(process=process, errors=errors, metrics=metrics)
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def span(trace: str, number: int, kind: str, end: int) -> dict:
    return {
        **NOTHING, "trace_id": trace, "span_id": f"{number:016x}", "parent_id": f"{0:016x}" if number else None,
        "name": kind, "kind": kind, "start": end - 50_000_000, "end": end, "llm": MODEL if kind == "llm" else None,
    }  # fmt: skip


class Load:
    """Traces of four spans, each in two messages, stored as they are made."""

    def __init__(self, kafka: str) -> None:
        self.producer = Producer({"bootstrap.servers": kafka, "linger.ms": 1})
        self.spans = Counter()
        self.traces: set[str] = set()

    def trace(self) -> None:
        trace = f"{len(self.traces) + 1:032x}"
        self.traces.add(trace)
        now = time.time_ns()
        kinds = ["request", "retrieval", "llm", "llm"]
        made = [span(trace, number, kind, now) for number, kind in enumerate(kinds)]
        self.spans.update(kinds)
        for part in (made[2:], made[:2]):
            self.store(partition(trace, PARTITIONS), codec.encode("span_batch", {**HEADER, "sent": now, "spans": part}))

    def store(self, number: int, value: bytes) -> None:
        self.producer.produce("llm.spans", value, partition=number)
        self.producer.poll(0)


class Read:
    """What a derived topic holds, as far as read."""

    def __init__(self, kafka: str, topic: str, schema: str) -> None:
        self.schema = schema
        self.consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test", "enable.auto.commit": False})
        count = topics.load()[topic].partitions
        self.consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
        self.messages: list[tuple[int, int, bytes]] = []

    def more(self) -> "Read":
        for message in self.consumer.consume(10_000, 0.2):
            assert message.error() is None
            self.messages.append((len(self.messages), message.timestamp()[1], message.value()))
        return self

    def decoded(self):
        return decode(self.schema, self.messages)

    def rows(self) -> pl.DataFrame:
        decoded = self.decoded()
        where = decoded.headers.select("offset", pl.col("partition").alias("source"), "topic_id")
        return decoded.rows.join(where, on="offset")


def final_panes(read: Read) -> dict[str, int]:
    """Spans by kind: of each pane the version with most spans; late rows as they are."""
    rows = read.rows()
    key = ["source", "start", "service", "kind", "model", "late_offset"]
    best = rows.group_by(key).agg(pl.col("spans").max())
    return dict(best.group_by("kind").agg(pl.col("spans").sum()).iter_rows())


def final_traces(read: Read) -> dict[str, tuple[int, str]]:
    best = read.rows().sort("spans").group_by("trace_id").last()
    return {row["trace_id"]: (row["spans"], row["state"]) for row in best.iter_rows(named=True)}


def eventually(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not become true"
    return found


def metric(worker: SimpleNamespace, name: str) -> float:
    with urllib.request.urlopen(worker.metrics, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def tell_of_an_idle_gpu(producer: Producer) -> None:
    """Thirteen minutes of a machine, told at once."""
    first = (time.time_ns() // 10**10 - 80) * 10_000
    idle = {
        "gpu_id": "0", "gpu_uuid": "u", "gpu_model": "m", "quantity": "gpu_utilization", "count": 10, "failed": 0,
        "sum": 1_000_000,
    }  # fmt: skip
    header = {"environment": "test", "host": "node", "epoch": 1, "sdk": "test", "samples": [idle]}
    for pane in range(78):
        value = codec.encode("sample_batch", header | {"start": first + pane * 10_000})
        producer.produce("llm.samples", value, b"test:node")


def alerts_of(read: Read) -> list[tuple[str, str]]:
    return [(alert["rule"], alert["state"]) for _, _, value in read.messages for alert in [codec.decode(value)[2]]]


def test_spans_become_panes_and_traces_samples_alerts_and_a_bad_message_a_dead_letter(line):
    load = Load(line)
    bad = b"not a span batch"
    with processor(line) as worker:
        tell_of_an_idle_gpu(load.producer)
        for _ in range(20):
            load.trace()
        load.store(1, bad)
        load.store(1, bad)
        for _ in range(20):
            load.trace()
        assert load.producer.flush(10) == 0
        panes, traces = Read(line, "llm.panes", "pane_batch"), Read(line, "llm.traces", "trace_batch")
        eventually(lambda: final_panes(panes.more()) == load.spans)
        eventually(lambda: final_traces(traces.more()) == dict.fromkeys(load.traces, (4, "complete")))
        eventually(lambda: set(panes.more().decoded().headers["partition"]) == {-1, *range(PARTITIONS)})  # -1: ticks
        headers = panes.decoded().headers
        late = headers.group_by("partition").agg(pl.col("progress").max())
        assert late["progress"].min() > time.time() * 1000 - 10_000  # idle partitions too
        alerts = Read(line, "llm.alerts", "alert")
        eventually(lambda: len(alerts.more().messages) == 2)
        assert alerts_of(alerts) == [("GpuUnderused", "pending"), ("GpuUnderused", "firing")]
        dead = Read(line, "llm.dead_letters", "dead_letter")
        eventually(lambda: len(dead.more().messages) == 2)
        letters = [codec.decode(value)[2] for _, _, value in dead.messages]
        assert [(letter["partition"], letter["value"], letter["stage"]) for letter in letters] == [
            (1, bad, "processor")
        ] * 2
        assert {letter["reason"] for letter in letters} == {"not_framed"}
        assert metric(worker, "spanloom_dead_letters_total") == 2
        eventually(lambda: metric(worker, "spanloom_dropped_spans_total") == 4)
        assert metric(worker, "spanloom_spans_total") == sum(load.spans.values())
        stopped = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(5) == 0
        assert time.monotonic() - stopped < 5
    assert sum("alert firing: GPU 0 of node is 10 % busy" in error for error in worker.errors) == 1
    assert [error for error in worker.errors if "dead letter" not in error and "GPU 0 of node" not in error] == []


def test_kill_9_under_load_loses_nothing_and_counts_nothing_twice(line):
    load = Load(line)
    done = threading.Event()

    def keep_loading() -> None:
        while not done.wait(0.01):
            load.trace()

    loading = threading.Thread(target=keep_loading)
    loading.start()
    try:
        for alive_s in (2.5, 1.5):
            with processor(line) as worker:
                time.sleep(alive_s)
                worker.process.kill()
    finally:
        done.set()
        loading.join()
    assert load.producer.flush(10) == 0
    with processor(line):
        panes, traces = Read(line, "llm.panes", "pane_batch"), Read(line, "llm.traces", "trace_batch")
        eventually(lambda: sum(final_panes(panes.more()).values()) >= sum(load.spans.values()))
        eventually(lambda: len(final_traces(traces.more())) == len(load.traces))
        eventually(lambda: set(final_traces(traces.more()).values()) == {(4, "complete")})
        time.sleep(2.5)
        assert final_panes(panes.more()) == load.spans
        assert final_traces(traces.more()) == dict.fromkeys(load.traces, (4, "complete"))
