"""20 000 spans a second, kill -9, and the seconds until the line is live again.

So many spans are made from encoded shapes (`benchmarks/spans.py`) by a process of its own, which says at the end how
many of them the broker has. They are judged by counts: each span once, each in the pane of its time.
`python -m tests.faults.fast BOOTSTRAP SPANS_A_SECOND SEED` is that process; it ends when stdin closes.
"""

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

from confluent_kafka import Producer
from spanloom_schemas import topics

from benchmarks.spans import SPANS_A_MESSAGE, batches
from tests.faults.stage import ROOT, Stage, staged
from tests.faults.verdict import Verdict

RATE, LONGEST_S = 20_000, 600
VICTIMS = ("processor-1", "sink", "kafka", "clickhouse")
REPEATED = 40
"""Spans of the first message that the second one holds again."""
LIVE_S, CATCH_UP_S, FLUSH_S = 30.0, 240, 60
# Cheap, so that who waits does not keep the engine from what is waited for.
STORED = "SELECT (SELECT count() FROM spans), (SELECT sum(spans) FROM panes FINAL)"
COUNTS = """
SELECT
    (SELECT count() FROM spans FINAL), (SELECT uniqExact(trace_id, span_id) FROM spans),
    (SELECT countIf(timeliness = 'on_time') FROM spans FINAL),
    (SELECT sum(spans) FROM panes FINAL WHERE late_offset < 0)
"""


def kill_at_full_speed(seed: int, folder: Path) -> tuple[Verdict, float]:
    """Kill each process under 20 000 spans/s; the verdict, and the longest time until live again."""
    live: dict[str, float] = {}
    with staged(folder, report=lambda step: None) as stage:
        command = [sys.executable, "-m", "tests.faults.fast", stage.bootstrap, str(RATE), str(seed)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            stage.live_again()
            stage.run(5)
            for victim in VICTIMS:
                stage.children.kill(victim)
                live[victim] = stage.live_again()
                print(f"    live again {live[victim]:.1f} s after {victim} was killed", flush=True)
            assert load.poll() is None, "the load ended before the last kill was over"
            assert load.stdin is not None
            assert load.stdout is not None
            load.stdin.close()
            stage.until(lambda: load.poll() is not None, FLUSH_S, "the load ends")
            produced, took = load.stdout.read().split()
        print(f"    {int(produced)} spans in {float(took):.1f} s, {int(produced) / float(took):.0f} a second")
        due, deadline = int(produced) - REPEATED, time.monotonic() + CATCH_UP_S
        while min(_asked(stage, STORED)) < due and time.monotonic() < deadline:
            stage.run(1)
        print(f"    all stored {time.monotonic() - deadline + CATCH_UP_S:.1f} s after the load")
        found = _asked(stage, COUNTS)
        said = stage.children.log("sink")[-1000:]
    distinct, on_time, in_panes = found[1:]
    wrong = [f"{in_panes} spans in panes, {on_time} are on time"] if in_panes != on_time else []
    wrong += [f"live again only {took:.1f} s after {name} was killed" for name, took in live.items() if took > LIVE_S]
    if distinct != due:
        wrong.append(f"{due - distinct} spans are not stored {CATCH_UP_S} s after the load; the sink said: {said}")
    return Verdict(due, 0, due - distinct, found[0] - distinct, len(wrong), wrong), max(live.values())


def _asked(stage: Stage, statement: str) -> list[int]:
    found = stage.ask(statement)
    return list(found[0]) if found else [0] * 4


def main(bootstrap: str, rate: str, seed: str) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5}
    )
    partitions = topics.load()["llm.spans"].partitions
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    begun, delivered = time.monotonic(), itertools.count()
    for number, value in enumerate(batches(int(rate) * LONGEST_S, int(seed))):
        if stop.is_set():
            break
        producer.produce(
            "llm.spans", value, partition=number // 2 % partitions, on_delivery=lambda e, m: e or next(delivered)
        )
        producer.poll(0)
        time.sleep(max(0.0, begun + number * SPANS_A_MESSAGE / float(rate) - time.monotonic()))
    took = time.monotonic() - begun
    assert producer.flush(FLUSH_S) == 0
    print(next(delivered) * SPANS_A_MESSAGE, took)


if __name__ == "__main__":
    main(*sys.argv[1:])
