"""What can happen, in words: each step is called with the world, and does nothing where it makes no sense."""

from dataclasses import dataclass
from typing import Any

from spanloom_processors.core import offsets
from spanloom_processors.core.revisions import Revision
from spanloom_schemas import codec

from tests.oracle.spans import FUTURE_MS, PANE_MS
from tests.sim.world import SPANS, T0, World, dearer


@dataclass(frozen=True)
class Send:
    """A message arrives at the broker."""

    partition: int
    batch: Any
    """as the schema has it; None: nonsense"""
    resend: int | None = None
    """which of the messages sent before is sent once more instead"""

    def __call__(self, world: World) -> None:
        batch = self.batch
        partition = self.partition % world.log.partitions(SPANS)
        if self.resend is not None:
            before = [(p, each) for _, p, _, each in world.produced if each is not None]
            if not before:
                return
            partition, batch = before[self.resend % len(before)]
        value = b"\xc3\x01nonsense" if batch is None else codec.encode("span_batch", batch)
        record = world.log.append(SPANS, partition, value)
        decoded = None if batch is None else codec.decode(value)[2]
        world.produced.append((world.log.topic_id(SPANS), partition, record, decoded))

    def __str__(self) -> str:
        if self.resend is not None:
            return f"message {self.resend} (modulo those there are) is sent once more"
        if self.batch is None:
            return f"nonsense comes to partition {self.partition}"
        spans = ", ".join(
            f"{span['trace_id']}/{span['span_id']} of {(span['end'] / 1e6 - T0) / 1000:.3f} s"
            for span in self.batch["spans"]
        )
        return f"partition {self.partition} gets {spans or 'no spans'}"


@dataclass(frozen=True)
class Pass:
    """Time passes."""

    ms: int

    def __call__(self, world: World) -> None:
        world.pass_ms(self.ms)

    def __str__(self) -> str:
        return f"{self.ms} ms pass"


@dataclass(frozen=True)
class StepClock:
    """The broker's clock steps."""

    ms: int

    def __call__(self, world: World) -> None:
        world.clock.advance(self.ms)

    def __str__(self) -> str:
        return f"the broker's clock steps by {self.ms} ms"


@dataclass(frozen=True)
class Skew:
    """A worker's clock is off."""

    worker: int
    ms: int

    def __call__(self, world: World) -> None:
        world.workers[self.worker].skew_ms = self.ms

    def __str__(self) -> str:
        return f"worker {'AB'[self.worker]}'s clock is off by {self.ms} ms"


@dataclass(frozen=True)
class Start:
    """A process starts, and joins its group."""

    kind: str
    number: int

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.body is None:
            process.start()
            world.rebalance_of(self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {'AB'[self.number]} starts"


@dataclass(frozen=True)
class Kill:
    """kill -9."""

    kind: str
    number: int

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.body is not None:
            process.kill()
            world.rebalance_of(self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {'AB'[self.number]} is killed"


@dataclass(frozen=True)
class Expel:
    """The group takes a process for dead; it goes on, and does not know."""

    kind: str
    number: int

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.body is not None:
            process.expelled = True
            world.rebalance_of(self.kind)

    def __str__(self) -> str:
        return f"the group takes {self.kind} {'AB'[self.number]} for dead, which goes on"


@dataclass(frozen=True)
class Rejoin:
    """A process notices that it lost its place."""

    kind: str
    number: int

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.expelled:
            world.rejoin(process)
            world.rebalance_of(self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {'AB'[self.number]} notices and joins again"


@dataclass(frozen=True)
class Bomb:
    """A process will die at one of its next sends, commits or inserts."""

    kind: str
    number: int
    nth: int

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.body is not None:
            process.crash_at = self.nth

    def __str__(self) -> str:
        return f"{self.kind} {'AB'[self.number]} will die at point {self.nth} from here"


@dataclass(frozen=True)
class Sleep:
    """A process will stop at one of its next sends, commits or inserts, while so many steps happen."""

    kind: str
    number: int
    nth: int
    steps: int
    waits: bool

    def __call__(self, world: World) -> None:
        process = _of(world, self)
        if process.body is not None:
            process.sleep_at, process.sleeps, process.waits = self.nth, self.steps, self.waits

    def __str__(self) -> str:
        verb = "wait" if self.waits else "sleep"
        return f"{self.kind} {'AB'[self.number]} will {verb} at point {self.nth} from here, for {self.steps} steps"


@dataclass(frozen=True)
class Read:
    """A worker fetches, and folds."""

    worker: int
    which: int
    most: int
    leave: int = 0

    def __call__(self, world: World) -> None:
        world.workers[self.worker].read(self.which, self.most, self.leave)

    def __str__(self) -> str:
        left = f", and leaves {self.leave} polls for later" if self.leave else ""
        return f"worker {'AB'[self.worker]} reads up to {self.most} of its partition {self.which}{left}"


@dataclass(frozen=True)
class Beat:
    """A worker's second is over: it emits."""

    worker: int

    def __call__(self, world: World) -> None:
        world.workers[self.worker].beat()

    def __str__(self) -> str:
        return f"worker {'AB'[self.worker]} emits"


@dataclass(frozen=True)
class Tick:
    """A worker that has llm.panes tells it, every two seconds, that time passes."""

    worker: int
    times: int

    def __call__(self, world: World) -> None:
        for _ in range(self.times):
            world.pass_ms(2_000)
            world.workers[self.worker].tick()

    def __str__(self) -> str:
        return f"{2 * self.times} s pass, and worker {'AB'[self.worker]} says so"


@dataclass(frozen=True)
class CommitDeclared:
    """A worker commits what it declared."""

    worker: int

    def __call__(self, world: World) -> None:
        world.workers[self.worker].commit()

    def __str__(self) -> str:
        return f"worker {'AB'[self.worker]} commits"


@dataclass(frozen=True)
class SinkRead:
    """A sink fetches."""

    sink: int
    which: int
    most: int

    def __call__(self, world: World) -> None:
        world.sinks[self.sink].read(self.which, self.most)

    def __str__(self) -> str:
        return f"sink {'AB'[self.sink]} fetches up to {self.most} of its partition {self.which}"


@dataclass(frozen=True)
class SinkTurn:
    """A sink writes and commits."""

    sink: int

    def __call__(self, world: World) -> None:
        world.sinks[self.sink].turn()

    def __str__(self) -> str:
        return f"sink {'AB'[self.sink]} takes its turn"


@dataclass(frozen=True)
class Fill:
    """The engine has no room for its next inserts: it notes their tokens, and then fails."""

    inserts: int

    def __call__(self, world: World) -> None:
        world.no_room_for = self.inserts

    def __str__(self) -> str:
        return f"the engine's disk is full for {self.inserts} inserts"


@dataclass(frozen=True)
class Trim:
    """Retention takes the older part of a partition."""

    partition: int
    share: float

    def __call__(self, world: World) -> None:
        partition = self.partition % world.log.partitions(SPANS)
        start, end = world.log.start(SPANS, partition), world.log.end(SPANS, partition)
        world.log.trim(SPANS, partition, start + round((end - start) * self.share))
        world.trimmed = True

    def __str__(self) -> str:
        return f"retention takes {self.share:.0%} of partition {self.partition}"


@dataclass(frozen=True)
class Recreate:
    """llm.spans is deleted and made anew; all consumers notice."""

    def __call__(self, world: World) -> None:
        world.log.create(SPANS, world.log.partitions(SPANS))
        world.recreated = True
        for process in (*world.workers, *world.sinks):
            world.rejoin(process)
        world.rebalance()

    def __str__(self) -> str:
        return "llm.spans is deleted and made anew"


@dataclass(frozen=True)
class Revise:
    """New caps are announced for panes from a while on; all workers that the group knows start again with them."""

    number: int
    keys: int

    def __call__(self, world: World) -> None:
        newest = max(
            world.clock.now_ms, T0 + world.elapsed_ms, *(record.log_time for _, _, record, _ in world.produced), 0
        )
        effective = ((newest + FUTURE_MS) // PANE_MS + 1) * PANE_MS
        world.revisions = (*world.revisions, Revision(len(world.revisions) + 1, effective, self.keys, 2))
        for number, worker in enumerate(world.workers):
            if worker.body is not None and not worker.expelled:
                Kill("worker", number)(world)
                Start("worker", number)(world)

    def __str__(self) -> str:
        return f"from the next pane on {self.keys} keys are its cap; the workers that the group knows start again"


@dataclass(frozen=True)
class Reprice:
    """The price book is changed for another, or back; all processes that their group knows start again with it.

    Not before the first commit of each partition: until then nobody can know what its panes were priced by.
    """

    def __call__(self, world: World) -> None:
        points = [world.log.committed("processors", SPANS, number) for number in range(world.log.partitions(SPANS))]
        safe = [offsets.decode(*point) if point else None for point in points]
        if any(each is None or each.topic_id != world.log.topic_id(SPANS) for each in safe):
            return
        before = world.shelf[0]
        world.book = dearer(before) if world.book is before else before
        world.shelf.append(world.book)
        for kind, group in (("worker", world.workers), ("sink", world.sinks)):
            for number, process in enumerate(group):
                if process.body is not None and not process.expelled:
                    Kill(kind, number)(world)
                    Start(kind, number)(world)

    def __str__(self) -> str:
        return "prices change; the processes that the groups know start again"


def _of(world: World, step: Any) -> Any:
    return (world.workers if step.kind == "worker" else world.sinks)[step.number]
