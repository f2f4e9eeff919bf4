"""The agents: decode, call, send. Each value of a stream is one poll of one partition."""

from typing import Any

from spanloom_processors.emit import PANES, TRACES
from spanloom_processors.spans import TOPIC as SPANS
from spanloom_processors.worker import Worker

BEAT_S = 1.0


def register(worker: Worker) -> None:
    """Give a worker's application its agents and its beat.

    What an agent raises is no matter of data (unreadable messages raise nothing): the application crashes, and whoever
    supervises the process starts it again at the safe offsets.
    """
    app = worker.app

    async def crash(_: Any, error: BaseException) -> None:
        await app.crash(error)

    @app.agent(app.topic(SPANS, acks=False), name="spans", on_error=crash)  # type: ignore[untyped-decorator]
    async def spans(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_spans(poll)

    @app.agent(app.topic(PANES, acks=False), name="panes", on_error=crash)  # type: ignore[untyped-decorator]
    async def panes(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_panes(poll)

    @app.agent(app.topic(TRACES, acks=False), name="traces", on_error=crash)  # type: ignore[untyped-decorator]
    async def traces(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_traces(poll)

    @app.task  # type: ignore[untyped-decorator]
    async def beat() -> None:
        while not app.should_stop:
            await app.sleep(BEAT_S)
            await worker.beat()
