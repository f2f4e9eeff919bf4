"""`make soak`: faults at length, simulation seeds, and a table of what they did to the line.

Each fault is tried on a line of its own under load. The row says what was lost, double or wrong once all had come to
rest, and how long the line took at most to be live again: until spans that end after the fault are in `spans` and in
`panes`. Exit code 1 if anything was lost, double or wrong, or could not be done.
"""

import contextlib
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import click
from spanloom import topics_command
from spanloom_schemas.settings import KafkaSettings
from spanloom_stack import kafka, services
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

from tests.faults import crashes
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.fast import VICTIMS, kill_at_full_speed
from tests.faults.resources import NotHere, small_disk
from tests.faults.stage import ROOT, staged
from tests.faults.verdict import Verdict, rested
from tests.producers import day as producer_day

KILLS_A_ROUND = 25
ALL_AT_ONCE = 0.1
"""Share of the random kills that kill everything."""
Trial = tuple[Verdict, float]


class Row:
    """A fault in the table."""

    def __init__(self, name: str) -> None:
        self.name, self.tried, self.note, self.failed = name, 0, "", False
        self.produced = self.dropped = self.lost = self.double = self.wrong = self.pages = 0
        self.seconds: list[float] = []

    def add(self, verdict: Verdict, tries: int, seconds: float) -> None:
        self.tried += tries
        self.produced, self.dropped = self.produced + verdict.produced, self.dropped + verdict.dropped
        self.lost, self.double = self.lost + verdict.lost, self.double + verdict.double
        self.wrong, self.pages = self.wrong + verdict.wrong, self.pages + verdict.pages
        self.seconds.append(seconds)

    def fail(self, note: str) -> None:
        self.failed, self.note = True, f"FAILED: {note}"
        click.echo(f"    {self.name}: {self.note}")

    def __str__(self) -> str:
        counts = (self.tried, self.produced, self.dropped, self.lost, self.double, self.wrong, self.pages)
        recovery = f"{max(self.seconds):.1f}" if self.seconds else "-"
        return f"{self.name:<24}{''.join(f'{count:>9}' for count in counts)}{recovery:>9}  {self.note}".rstrip()


NAMES = ("tried", "spans", "dropped", "lost", "double", "wrong", "pages", "seconds")
HEAD = f"{'fault':<24}" + "".join(f"{name:>9}" for name in NAMES)


def trial(fault: Fault, seed: int, folder: Path) -> Trial:
    """One fault on a line of its own, under load; the verdict, and the seconds until the line was live again."""
    disk = small_disk(folder / fault.small_disk) if fault.small_disk else contextlib.nullcontext()
    with disk, staged(folder, report=lambda step: None, gateway=True, receiver=fault.receiver) as stage:
        stage.load(seed)
        stage.live_again()
        fault.do(stage, random.Random(seed))
        seconds = stage.live_again()
        stage.unload()
        return rested(stage), seconds


def kills(seed: int, count: int, folder: Path) -> Trial:
    """Random kills of anything, alone or all at once, on one line."""
    rnd, slowest = random.Random(seed), 0.0
    with staged(folder, report=lambda step: None, gateway=True) as stage:
        stage.load(seed)
        stage.live_again()
        for _ in range(count):
            (crashes.kill_all if rnd.random() < ALL_AT_ONCE else crashes.kill_any)(stage, rnd, 1)
            if rnd.random() < 0.15:  # else the next one comes while the line gets up
                slowest = max(slowest, stage.live_again())
        slowest = max(slowest, stage.live_again())
        stage.unload()
        return rested(stage), slowest


FULL_SPEED = "kill-at-20k"
DAY = "producer-day"


def day(folder: Path) -> Trial:
    """A day of one producer's spans, compressed, on a broker alone; the verdict, and the seconds it took."""
    service, bootstrap = services.broker(kafka.install(StackSettings().cache), folder / "data", port=0)
    with Supervisor(folder) as supervisor:
        supervisor.start(service)
        topics_command.apply(KafkaSettings(kafka_bootstrap=bootstrap))
        begun = time.monotonic()
        lived = producer_day.lived(bootstrap, producer_day.SPANS)
    grown = lived.growth
    click.echo(
        f"    {lived.made} spans; it grew by {grown.bytes / 2**20:.1f} MiB, {grown.threads} threads, {grown[2]} files"
    )
    wrong = [] if grown.flat else [f"what it held grew: {lived.held}"]
    return Verdict(
        lived.made, lived.dropped, lived.made - lived.stored - lived.dropped, 0, len(wrong), wrong
    ), time.monotonic() - begun


def tried(row: Row, tries: int, once: Callable[[Path], Trial]) -> None:
    """Try once, and note in the row what came of it."""
    with tempfile.TemporaryDirectory(prefix="spanloom-soak-") as folder:
        try:
            verdict, seconds = once(Path(folder))
        except NotHere as error:
            row.note = f"not here: {error}"
        except AssertionError as error:
            row.tried += tries
            row.fail(str(error))
        except Exception as error:
            row.tried += tries
            row.fail(f"{type(error).__name__}: {error}")
            traceback.print_exc()
        else:
            row.add(verdict, tries, seconds)
            for difference in verdict.differences[:20]:
                click.echo(f"    {difference}")


def simulated(seeds: int, seed: int) -> bool:
    """Whether so many seeds of the simulation agree with the oracle; it says itself what does not."""
    command = [sys.executable, "-m", "tests.sim.run", "--seeds", str(seeds), "--seed", str(seed)]
    return subprocess.run(command, cwd=ROOT).returncode == 0


@click.command()
@click.option("--kills", "total", default=100, show_default=True, help="Random kills.")
@click.option("--seeds", default=1000, show_default=True, help="Seeds of the simulation.")
@click.option("--seed", default=1, show_default=True, help="The first seed of all.")
@click.option("--faults", default="", help="Names of faults, with commas; empty: all; none: only the kills.")
def main(total: int, seeds: int, seed: int, faults: str) -> None:
    """Run the faults and print the table."""
    wanted, known = [name for name in faults.split(",") if name], [*(fault.name for fault in FAULTS), FULL_SPEED, DAY]
    if unknown := set(wanted) - {*known, "none"}:
        raise click.ClickException(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    agreed = simulated(seeds, seed) if seeds else True
    click.echo(HEAD)
    rows: list[Row] = []
    for fault in FAULTS:
        if not wanted or fault.name in wanted:
            rows.append(Row(f"{fault.number} {fault.name}"))
            tried(rows[-1], 1, lambda folder, fault=fault: trial(fault, seed, folder))
            click.echo(str(rows[-1]))
    if not wanted or FULL_SPEED in wanted:
        rows.append(Row(f"1 {FULL_SPEED}"))
        tried(rows[-1], len(VICTIMS), lambda folder: kill_at_full_speed(seed, folder))
        click.echo(str(rows[-1]))
    if not wanted or DAY in wanted:
        rows.append(Row(f"58 {DAY}"))
        tried(rows[-1], 1, day)
        click.echo(str(rows[-1]))
    if total:
        rows.append(Row("1-4 random kill -9"))
        for begun in range(0, total, KILLS_A_ROUND):
            count = min(KILLS_A_ROUND, total - begun)
            tried(rows[-1], count, lambda folder, begun=begun, count=count: kills(seed + begun, count, folder))
        click.echo(str(rows[-1]))
    sums = [sum(getattr(row, name) for row in rows) for name in ("lost", "double", "wrong", "pages")]
    click.echo("lost {}, double {}, wrong {}, pages doubled {}".format(*sums))
    sys.exit(1 if any(sums) or not agreed or any(row.failed for row in rows) else 0)


if __name__ == "__main__":
    main()
