"""The agents: decode, call, send. Each value of a stream is one poll of one partition."""

from typing import Any

from spanloom_processors.alerting import ALERTS, SAMPLES
from spanloom_processors.emit import PANES, TRACES
from spanloom_processors.spans import TOPIC as SPANS
from spanloom_processors.worker import Worker

BEAT_S = 1.0


def register(worker: Worker) -> None:
    """Give a worker's application its agents and its beat."""
    app = worker.app

    @app.agent(app.topic(SPANS, acks=False), name="spans")  # type: ignore[untyped-decorator]
    async def spans(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_spans(poll)

    @app.agent(app.topic(PANES, acks=False), name="panes")  # type: ignore[untyped-decorator]
    async def panes(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_panes(poll)

    @app.agent(app.topic(TRACES, acks=False), name="traces")  # type: ignore[untyped-decorator]
    async def traces(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_traces(poll)

    @app.agent(app.topic(SAMPLES, acks=False), name="samples")  # type: ignore[untyped-decorator]
    async def samples(stream: Any) -> None:
        async for poll in stream:
            await worker.fold_samples(poll)

    @app.agent(app.topic(ALERTS, acks=False), name="alerts")  # type: ignore[untyped-decorator]
    async def alerts(stream: Any) -> None:
        async for poll in stream:
            await worker.take_alerts(poll)

    @app.task  # type: ignore[untyped-decorator]
    async def beat() -> None:
        while not app.should_stop:
            await app.sleep(BEAT_S)
            await worker.beat()
