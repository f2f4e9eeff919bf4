"""What every process of the line and of its producers holds, before a fault and after it."""

from pathlib import Path
from typing import NamedTuple

from tests.faults import hostile
from tests.faults.stage import ALIVE_S, Stage


class Held(NamedTuple):
    """What a process holds, or may hold more than before."""

    megabytes: float
    threads: int
    descriptors: int

    def more_than(self, before: "Held") -> "Held":
        return Held(*(now - then for now, then in zip(self, before, strict=True)))

    def within(self, room: "Held") -> bool:
        return all(more <= most for more, most in zip(self, room, strict=True))

    def __str__(self) -> str:
        return f"{self.megabytes:+.0f} MB, {self.threads:+d} threads, {self.descriptors:+d} descriptors"


ROOM = {
    "processor-1": Held(300, 8, 16),
    "sink": Held(500, 8, 16),
    "kafka": Held(250, 16, 200),
    "clickhouse": Held(800, 100, 400),
    "gateway": Held(150, 24, 32),
}
PRODUCER = Held(100, 4, 8)
"""By how much each may grow: what Python took it keeps; a broker holds files of each segment, an engine of parts."""


class Watch:
    """That no process ends meanwhile, that the line is live `seconds` later, and that none has grown."""

    def __init__(self, stage: Stage, seconds: float = ALIVE_S) -> None:
        self.stage, self.seconds = stage, seconds
        stage.strangers.add(hostile.SERVICE)

    def __enter__(self) -> "Watch":
        self.pids = self.stage.pids()
        self.before = {name: held(pid) for name, pid in self.pids.items()}
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            return
        self.stage.live_again(self.seconds)
        assert self.stage.pids() == self.pids, "a process ended"
        grown = {name: held(pid).more_than(self.before[name]) for name, pid in self.pids.items()}
        for name, more in grown.items():
            print(f"    {name}: {self.before[name].megabytes:.0f} MB {more}")
        too_much = [f"{name}: {more}" for name, more in grown.items() if not more.within(ROOM.get(name, PRODUCER))]
        assert not too_much, f"grown too much: {'; '.join(too_much)}"


def resident(stage: Stage, name: str) -> float:
    """Resident memory of a process, in MB."""
    return held(stage.pids()[name]).megabytes


def held(pid: int) -> Held:
    """What a process holds now."""
    process = Path(f"/proc/{pid}")
    resident = int((process / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    return Held(resident, *(len(list((process / kind).iterdir())) for kind in ("task", "fd")))
