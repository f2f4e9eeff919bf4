"""Stories told by hand, for what chance would seldom tell."""

from typing import Any

from tests.sim import steps
from tests.sim.story import Step, Story
from tests.sim.world import T0


def _span(name: str, end_ms: int, **said: Any) -> dict[str, Any]:
    end = (T0 + end_ms) * 10**6
    plain = {"trace_id": f"trace-{name}", "span_id": name, "parent_id": None, "parent_remote": False, "name": "step"}
    plain |= {"kind": "tool", "otel_kind": "internal", "status": "ok", "error_type": None, "tool_name": None}
    records = dict.fromkeys(("context", "prompt", "llm", "retrieval", "payload", "block_reason"))
    lists = {"scores": [], "events": [], "links": [], "attributes": []}
    return plain | records | lists | {"start": end - 1_000_000, "end": end} | said


def _send(partition: int, sequence: int, *spans: dict[str, Any]) -> steps.Send:
    batch = {"producer": f"p{partition}", "epoch": 1, "sequence": sequence, "service": "chat", "environment": "test"}
    batch |= {"host": "h", "version": "1", "sdk": "sim/1", "sent": T0 * 10**6, "made": len(spans), "dropped": []}
    return steps.Send(partition, batch | {"given_up": [], "last": False, "spans": list(spans)})


def a_clock_that_steps_back_behind_the_safe_offset() -> Story:
    """All is closed and committed at 44 s; then the clock steps back, and a span comes for a pane closed long ago."""
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0), steps.Pass(44_000), _send(0, 0)]
    told += [steps.Read(0, which, 50) for which in range(3)]
    told += [steps.Beat(0), steps.CommitDeclared(0), steps.Kill("worker", 0)]
    told += [steps.StepClock(-6_000), steps.Pass(500), _send(0, 1, _span("a", 39_900)), steps.Start("worker", 0)]
    return Story(-1, 1, False, tuple(told))


def a_partition_that_nobody_waited_for_any_longer() -> Story:
    """Windows are judged without a partition that is not read; then it is read, and the worker starts again."""
    failed = [_span(f"f{number}", 5_000, status="error") for number in range(4)]
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0), steps.Pass(5_100), _send(0, 0, *failed)]
    for _ in range(3):
        told += [steps.Tick(0, 12), steps.Read(0, 0, 50), steps.CommitDeclared(0)]  # its partition 0 is llm.panes
    told += [steps.Read(0, 1, 50), steps.Beat(0), steps.Read(0, 0, 50), steps.CommitDeclared(0)]
    told += [steps.Kill("worker", 0), steps.Start("worker", 0)]
    return Story(-2, 2, False, tuple(told))


def a_block_whose_token_was_forgotten() -> Story:
    """A sink dies between an insert and its commit, and is back when the table has forgotten the block's token."""
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0), steps.Start("sink", 1)]
    told += [_send(0, 0, _span("a", 0)), steps.Bomb("sink", 0, 3)]  # mark, insert, hear
    told += [steps.Read(0, which, 50) for which in range(5)]
    told += [steps.SinkRead(0, which, 50) for which in range(6)]
    told += [steps.Pass(300), steps.SinkTurn(0)]
    for number in range(14):
        told += [_send(1, number, _span(f"b{number}", number * 300))]
        told += [steps.SinkRead(1, which, 50) for which in range(6)]
        told += [steps.Pass(300), steps.SinkTurn(1)]
    told += [steps.Start("sink", 0)]
    return Story(-3, 2, False, tuple(told))


def a_zombie_that_writes_an_old_record() -> Story:
    """A worker sleeps before it can write that an alert fires; when it wakes, another has written its end."""
    failed = [_span(f"f{number}", 5_000, status="error") for number in range(4)]
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0), steps.Pass(5_100), _send(0, 0, *failed)]
    told += [steps.Read(0, 1, 50), steps.Beat(0)]
    meanwhile: list[Step] = [steps.Start("worker", 1), steps.Read(1, 0, 50), steps.Tick(1, 8), steps.Read(1, 1, 50)]
    for _ in range(6):
        meanwhile += [*(steps.Read(1, which, 50) for which in range(3)), steps.Pass(8_000), steps.Beat(1)]
    meanwhile += [steps.Read(1, 0, 50), steps.CommitDeclared(1)]
    told += [steps.Sleep("worker", 0, 1, len(meanwhile), waits=False), steps.Read(0, 0, 50), *meanwhile]
    told += [steps.Kill("worker", 0), steps.Kill("worker", 1), steps.Start("worker", 1)]
    return Story(-4, 1, True, tuple(told))


def a_full_disk_that_keeps_tokens_and_no_rows() -> Story:
    """Inserts fail when the engine has noted their tokens: of spans, of all else, and with the sink dying."""
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0)]
    for number, inserts in enumerate((1, 3, 1, 9)):
        told += [_send(0, number, _span(f"a{number}", number * 3_000)), steps.Fill(inserts)]
        told += [steps.Read(0, which, 50) for which in range(3)]
        told += [steps.Beat(0), steps.Bomb("sink", 0, 6)] if number == 2 else [steps.Beat(0)]
        for _ in range(12):
            told += [steps.SinkRead(0, which, 50) for which in range(6)]
            told += [steps.Pass(300), steps.SinkTurn(0)]
        told += [steps.Start("sink", 0)]
    return Story(-5, 1, False, tuple(told))


def a_trace_sent_twice_in_a_backlog_behind_another_partition() -> Story:
    """A sink reads of one partition what was told hours later, and only then of the other a trace that came twice."""
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0)]
    emitting = [*(steps.Read(0, which, 50) for _ in range(2) for which in range(5)), steps.Beat(0)]
    for wait, message in (
        (5_000, _send(0, 0, _span("a", 4_900, kind="request"))),
        (600_000, steps.Send(0, None, 0)),
        (3 * 3_600_000, _send(1, 1, _span("b", 11_404_900, kind="request"))),
    ):
        told += [steps.Pass(wait), message, *emitting, steps.Pass(40_000), *emitting]
    for which in (6, 5):  # its partition of llm.traces
        told += [steps.SinkRead(0, which, 50), steps.Pass(300), steps.SinkTurn(0)]
    return Story(-6, 2, False, tuple(told))


def a_zombie_with_the_old_prices() -> Story:
    """Prices change; a worker that lost its place goes on with the old ones, and tells a pane after its successor."""
    told: list[Step] = [steps.Start("worker", 0), steps.Start("sink", 0), steps.Pass(5_000)]
    told += [_send(0, 0, _span("a", 4_900, kind="tool")), steps.Read(0, 1, 50), steps.Beat(0), steps.CommitDeclared(0)]
    told += [steps.Expel("worker", 0), steps.Reprice(), steps.Start("worker", 1), steps.Read(1, 1, 50), steps.Beat(1)]
    told += [steps.CommitDeclared(1), steps.Beat(1), _send(0, 1, _span("b", 4_950, kind="retrieval"))]
    told += [steps.Pass(20_000), _send(0, 2)]  # closes it for good
    for worker in (1, 0):
        told += [steps.Read(worker, 1, 50), steps.Beat(worker)]
    return Story(-7, 1, False, (*told, steps.Kill("worker", 0)))


STORIES = (
    a_clock_that_steps_back_behind_the_safe_offset,
    a_partition_that_nobody_waited_for_any_longer,
    a_block_whose_token_was_forgotten,
    a_zombie_that_writes_an_old_record,
    a_full_disk_that_keeps_tokens_and_no_rows,
    a_trace_sent_twice_in_a_backlog_behind_another_partition,
    a_zombie_with_the_old_prices,
)
