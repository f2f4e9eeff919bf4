"""A pager on this machine: takes alerts as Alertmanager's API v2 does, strictly, and remembers when each came.

Strict: what the API's schema does not name is refused, so that the demo proves what a real Alertmanager takes.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spanloom_stack import net


class PostableAlert(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What Alertmanager takes; the labels are the alert's identity."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: datetime | None = None
    endsAt: datetime | None = None
    generatorURL: str = ""


@dataclass(frozen=True)
class Arrival:
    """An alert that came, or came again; `at` is epoch seconds."""

    at: float
    alert: PostableAlert

    @property
    def firing(self) -> bool:
        """It had not ended when it came."""
        ends = self.alert.endsAt
        return ends is None or ends.timestamp() > self.at


class Pager:
    """What came, in order, and what was refused."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.refusals: list[str] = []

    def take(self, body: bytes, now: float) -> str | None:
        """Take a request's alerts; returns why some were refused (valid ones are taken, as Alertmanager does)."""
        try:
            alerts = msgspec.json.decode(body, type=list[PostableAlert])
        except msgspec.MsgspecError as error:
            self.refusals.append(str(error))
            return str(error)
        problems = [problem for alert in alerts if (problem := _problem(alert))]
        self.arrivals += [Arrival(now, alert) for alert in alerts if not _problem(alert)]
        self.refusals += problems
        return "; ".join(problems) or None

    def first(self, name: str) -> Arrival | None:
        """The first time an alert of that name came firing."""
        return next((one for one in self.arrivals if one.alert.labels["alertname"] == name and one.firing), None)


def _problem(alert: PostableAlert) -> str | None:
    if not alert.labels.get("alertname"):
        return "an alert without the label alertname"
    if "" in alert.labels or "" in alert.annotations:
        return f"{alert.labels['alertname']}: an empty name of a label or annotation"
    for time_ in (alert.startsAt, alert.endsAt):
        if time_ is not None and time_.tzinfo is None:
            return f"{alert.labels['alertname']}: a time without its zone"
    if alert.startsAt and alert.endsAt and alert.endsAt < alert.startsAt:
        return f"{alert.labels['alertname']}: endsAt is before startsAt"
    return None


def application(pager: Pager) -> Starlette:
    """Alertmanager's API, as far as a client that sends alerts uses it."""

    async def post(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return JSONResponse("only application/json is taken", 415)
        refused = pager.take(await request.body(), time.time())
        return JSONResponse(refused, 400) if refused else Response(status_code=200)

    async def active(_: Request) -> Response:
        latest = {tuple(sorted(one.alert.labels.items())): one for one in pager.arrivals}
        return JSONResponse([_gettable(one) for one in latest.values() if one.firing])

    async def healthy(_: Request) -> Response:
        return Response("OK")

    return Starlette(
        routes=[
            Route("/api/v2/alerts", post, methods=["POST"]),
            Route("/api/v2/alerts", active, methods=["GET"]),
            Route("/-/healthy", healthy),
            Route("/-/ready", healthy),
        ]
    )


def _gettable(arrival: Arrival) -> dict[str, Any]:
    updated = datetime.fromtimestamp(arrival.at, UTC).isoformat()
    status = {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}
    return {
        **msgspec.to_builtins(arrival.alert),
        "updatedAt": updated,
        "status": status,
        "receivers": [{"name": "demo"}],
    }


@contextmanager
def running() -> Iterator[tuple[Pager, str]]:
    """A pager on a free port of 127.0.0.1, and its URL."""
    pager, port = Pager(), net.claim(0)
    config = uvicorn.Config(application(pager), host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="pager", daemon=True)
    thread.start()
    net.until(lambda: server.started or not thread.is_alive(), 10)
    try:
        yield pager, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(5)
