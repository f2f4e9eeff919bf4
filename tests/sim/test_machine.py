"""The same world, driven by hypothesis: it looks for the shortest story that breaks."""

import logging
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.sim import run, steps
from tests.sim.story import Made
from tests.sim.world import World

PARTITIONS = 2
KIND, NUMBER = st.sampled_from(["worker", "sink"]), st.integers(0, 1)


class Line(RuleBasedStateMachine):
    """Messages come and processes work, in any order, and die at any point of what they do."""

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.ERROR)
        self.world = World(PARTITIONS, run.book(), run.RULES)
        self.made = 0
        self.do(steps.Start("worker", 0))
        self.do(steps.Start("sink", 0))

    def do(self, step: Any) -> None:
        self.world.tell(str(step))
        step(self.world)

    @rule(ms=st.sampled_from([300, 2_600, 6_000, 14_000]), random=st.randoms(use_true_random=False))
    def a_message_comes(self, ms: int, random: Any) -> None:
        self.do(steps.Pass(ms))
        making = Made(random, {"late", "future", "keys"}, frozenset(), PARTITIONS)
        making.now, making.spans, making.sequence = self.world.elapsed_ms, self.made, self.made
        making.message()
        self.made = making.spans + 1
        for step in making.steps:
            if isinstance(step, steps.Send):
                self.do(step)

    @rule(which=st.integers(0, 50))
    def a_message_comes_again(self, which: int) -> None:
        self.do(steps.Send(0, None, which))

    @rule(ms=st.sampled_from([-6_000, 3_000]))
    def the_brokers_clock_steps(self, ms: int) -> None:
        self.do(steps.StepClock(ms))

    @rule(worker=NUMBER, which=st.integers(0, 4), most=st.sampled_from([1, 3, 50]), leave=st.integers(0, 1))
    def a_worker_reads(self, worker: int, which: int, most: int, leave: int) -> None:
        self.do(steps.Read(worker, which, most, leave))

    @rule(worker=NUMBER)
    def a_worker_emits(self, worker: int) -> None:
        self.do(steps.Beat(worker))

    @rule(worker=NUMBER)
    def a_worker_commits(self, worker: int) -> None:
        self.do(steps.CommitDeclared(worker))

    @rule(sink=NUMBER, which=st.integers(0, 6))
    def a_sink_works(self, sink: int, which: int) -> None:
        self.do(steps.SinkRead(sink, which, 50))
        self.do(steps.Pass(250))
        self.do(steps.SinkTurn(sink))

    @rule(kind=KIND, number=NUMBER)
    def a_process_starts(self, kind: str, number: int) -> None:
        self.do(steps.Start(kind, number))

    @rule(kind=KIND, number=NUMBER)
    def a_process_is_killed(self, kind: str, number: int) -> None:
        self.do(steps.Kill(kind, number))

    @rule(kind=KIND, number=NUMBER, nth=st.integers(1, 4))
    def a_process_will_die(self, kind: str, number: int, nth: int) -> None:
        self.do(steps.Bomb(kind, number, nth))

    @rule(kind=KIND, number=NUMBER)
    def a_process_loses_its_place(self, kind: str, number: int) -> None:
        self.do(steps.Expel(kind, number))
        self.do(steps.Start(kind, 1 - number))

    @precondition(lambda self: any(process.expelled for process in (*self.world.workers, *self.world.sinks)))
    @rule(kind=KIND, number=NUMBER)
    def a_process_notices(self, kind: str, number: int) -> None:
        self.do(steps.Rejoin(kind, number))

    def teardown(self) -> None:
        wrong = run.judged(self.world, calmly=False)
        logging.disable(logging.NOTSET)
        assert not wrong, "\n".join([*self.world.story, "then:", *wrong[:10]])


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=16, stateful_step_count=25, derandomize=True)
