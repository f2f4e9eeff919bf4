"""20 000 spans a second, kill -9, and the seconds until the line is live again.

So many spans are made from encoded shapes (`benchmarks/spans.py`) by a process of its own, which says at the end how
many of them the broker has. They are judged by counts: each span once, each in the pane of its time.
`python -m tests.faults.fast BOOTSTRAP SPANS_A_SECOND SECONDS SEED` is that process.
"""

import itertools
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Producer
from spanloom_schemas import topics

from benchmarks.spans import SPANS_A_MESSAGE, batches
from tests.faults.stage import ROOT, staged
from tests.faults.verdict import Verdict

RATE, SECONDS = 20_000, 60
LIVE_S = 30.0
COUNTS = """
SELECT
    (SELECT count() FROM spans), (SELECT uniqExact(trace_id, span_id) FROM spans),
    (SELECT countIf(timeliness = 'on_time') FROM spans FINAL),
    (SELECT sum(spans) FROM panes FINAL WHERE late_offset < 0)
"""


def kill_at_full_speed(seed: int, folder: Path) -> tuple[Verdict, float]:
    """Kill processor, sink and both under 20 000 spans/s; the verdict, and the longest time until live again."""
    slowest = 0.0
    with staged(folder, report=lambda step: None) as stage:
        command = [sys.executable, "-m", "tests.faults.fast", stage.bootstrap, str(RATE), str(SECONDS), str(seed)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as load:
            stage.live_again()
            stage.run(5)
            for victims in (["processor-1"], ["sink"]):
                for victim in victims:
                    stage.children.kill(victim)
                slowest = max(slowest, stage.live_again())
            stage.until(lambda: load.poll() is not None, SECONDS + 60, "the load ends")
            assert load.stdout is not None
            produced, took = load.stdout.read().split()
        print(f"    {int(produced)} spans in {float(took):.1f} s, {int(produced) / float(took):.0f} a second")
        deadline = time.monotonic() + 120
        while (found := _counts(stage)) != (int(produced),) * 4 and time.monotonic() < deadline:
            stage.run(1)
    rows, distinct, on_time, in_panes = found
    wrong = [f"{in_panes} spans in panes, {on_time} are on time"] if in_panes != on_time else []
    if slowest > LIVE_S:
        wrong.append(f"live again only after {slowest:.1f} s")
    return Verdict(int(produced), 0, int(produced) - distinct, rows - distinct, len(wrong), wrong), slowest


def _counts(stage) -> tuple[int, ...]:
    found = stage.ask(COUNTS)
    return tuple(found[0]) if found else (0, 0, 0, 0)


def main(bootstrap: str, rate: str, seconds: str, seed: str) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5}
    )
    partitions = topics.load()["llm.spans"].partitions
    begun, delivered = time.monotonic(), itertools.count()
    for number, value in enumerate(batches(int(rate) * int(seconds), int(seed))):
        producer.produce(
            "llm.spans", value, partition=number // 2 % partitions, on_delivery=lambda e, m: e or next(delivered)
        )
        producer.poll(0)
        time.sleep(max(0.0, begun + number * SPANS_A_MESSAGE / float(rate) - time.monotonic()))
    took = time.monotonic() - begun
    assert producer.flush(60) == 0
    print(next(delivered) * SPANS_A_MESSAGE, took)


if __name__ == "__main__":
    main(*sys.argv[1:])
