"""What runs out: disks, descriptors, memory. Limits are put on running processes and lifted again."""

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.stage import Stage
from tests.faults.watch import resident

DISK_MB = 256
PROCESSOR_MEGABYTES = 700


class NotHere(Exception):
    """This machine or user cannot make the fault; the message says why."""


@contextmanager
def small_disk(folder: Path, megabytes: int = DISK_MB) -> Iterator[None]:
    """A file system of its own for `folder`, of so many megabytes. Raises NotHere."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "spanloom-faults", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True) if os.getuid() == 0 else None
    if made is None or made.returncode:
        raise NotHere("only root may mount a small file system" if made is None else made.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_engine(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """17: no room for the engine, then room again, and the engine is started anew.

    ClickHouse 26.9 may keep a merged part whose marks it could not write when the disk fills up during the merge. At
    its next start it sets such a part aside and takes the parts that it was made of, which it keeps for eight minutes.
    """
    _fill(stage, stage.folder / "clickhouse", seconds)
    stage.children.kill("clickhouse")


def full_broker(stage: Stage, rnd: random.Random, seconds: float = 20) -> None:
    """18: no room for the broker's log, then room again. A broker whose disk fails ends; it is started again."""
    _fill(stage, stage.folder / "kafka", seconds)


def _fill(stage: Stage, folder: Path, seconds: float) -> None:
    if os.path.ismount(folder) is False:
        raise NotHere(f"{folder} is not on a file system of its own")
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(b"\0" * (1 << 20))
                except OSError:
                    break
            stage.run(seconds)
    finally:
        filler.unlink(missing_ok=True)


def few_descriptors(stage: Stage, rnd: random.Random, seconds: float = 15) -> None:
    """19: processor and sink may open nothing more, and their connections are cut; then they may again."""
    limited = []
    for name in ("processor-1", "sink"):
        pid = stage.children.pids()[name]
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) // 2, limit[1]))
        limited.append((name, pid, limit))
    stage.broker.reset()
    stage.engine.reset()
    stage.run(seconds)
    for name, pid, limit in limited:
        if stage.children.pids().get(name) == pid:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def little_memory(stage: Stage, rnd: random.Random, seconds: float = 15) -> None:
    """20: processor and sink get no more memory than they have; then they may again."""
    limited = []
    for name in ("processor-1", "sink"):
        pid = stage.children.pids()[name]
        limit = resource.prlimit(pid, resource.RLIMIT_AS)
        status = Path(f"/proc/{pid}/status").read_text()
        size = int(status.split("VmSize:")[1].split()[0]) * 1024
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (1 << 20), limit[1]))
        limited.append((name, pid, limit))
    stage.run(seconds)
    for name, pid, limit in limited:
        if stage.children.pids().get(name) == pid:
            resource.prlimit(pid, resource.RLIMIT_AS, limit)
    stage.live_again()
    assert resident(stage, "processor-1") < PROCESSOR_MEGABYTES
