"""Who is told about alerts in the fault tests, one kind at a time; each keeps a log of every POST that it took."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import uvicorn
from spanloom_stack import net
from spanloom_stack.demo import pager
from spanloom_stack.demo.pager import Arrival, Pager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.faults.receipts import Receipt
from tests.oracle.alerts import Firing

KINDS = ("alertmanager", "pagerduty", "webhook")
KEY = "0123456789abcdef0123456789abcdef"


class Receiver:
    """Takes alerts as one of KINDS would, under a URL whose settings are `settings(url)`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pager = Pager()
        """What Alertmanager took."""
        self.posts: list[tuple[float, Any]] = []
        """What PagerDuty or a webhook took: epoch s and body."""

    def settings(self, url: str) -> dict[str, str]:
        """The settings that lead to it, by their variables."""
        match self.kind:
            case "alertmanager":
                return {"SPANLOOM_ALERTMANAGER_URL": url}
            case "pagerduty":
                return {"SPANLOOM_PAGERDUTY_ROUTING_KEY": KEY, "SPANLOOM_PAGERDUTY_URL": f"{url}/v2/enqueue"}
            case _:
                return {"SPANLOOM_WEBHOOK_URL": f"{url}/hook"}

    def receipts(self) -> list[Receipt]:
        """All that it took, in order."""
        match self.kind:
            case "alertmanager":
                return [_from_alertmanager(one) for one in list(self.pager.arrivals)]
            case "pagerduty":
                return list(_from_pagerduty(list(self.posts)))
            case _:
                return [_from_webhook(at, body) for at, body in list(self.posts)]

    def application(self) -> Starlette:
        """Its HTTP interface."""
        if self.kind == "alertmanager":
            return pager.application(self.pager)

        async def post(request: Request) -> Response:
            self.posts.append((time.time(), await request.json()))
            return Response(status_code=202)

        return Starlette(routes=[Route(path, post, methods=["POST"]) for path in ("/v2/enqueue", "/hook")])


@contextmanager
def receiving(kind: str) -> Iterator[tuple[Receiver, int]]:
    """A receiver on a free port of 127.0.0.1, and that port."""
    receiver, port = Receiver(kind), net.claim(0)
    config = uvicorn.Config(receiver.application(), host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name=kind, daemon=True)
    thread.start()
    net.until(lambda: server.started or not thread.is_alive(), 10)
    try:
        yield receiver, port
    finally:
        server.should_exit = True
        thread.join(5)


def _from_alertmanager(one: Arrival) -> Receipt:
    """It knows a page by its labels, and its end by when it was said last."""
    labels, starts, ends = one.alert.labels, one.alert.startsAt, one.alert.endsAt
    assert starts is not None
    assert ends is not None
    return Receipt(one.at, str(sorted(labels.items())), _firing(labels, starts), one.firing, ends.timestamp())


def _from_pagerduty(posts: list[tuple[float, Any]]) -> Iterator[Receipt]:
    """It knows a page by its deduplication key; a resolve names nothing else."""
    known: dict[str, Firing] = {}
    for at, body in posts:
        key = body["dedup_key"]
        if body["event_action"] == "trigger":
            details = body["payload"]["custom_details"]
            labels = {name: details[name] for name in ("alertname", "service")}
            known[key] = _firing(labels, datetime.fromisoformat(body["payload"]["timestamp"]))
        if key in known:  # else nobody was paged by it, and nobody is now
            yield Receipt(at, key, known[key], body["event_action"] == "trigger")


def _from_webhook(at: float, body: Any) -> Receipt:
    """It tells no pages apart."""
    (alert,) = body["alerts"]
    fired = _firing(alert["labels"], datetime.fromisoformat(alert["startsAt"]))
    return Receipt(at, "", fired, body["status"] == "firing")


def _firing(labels: Mapping[str, str], since: datetime) -> Firing:
    group = sorted((name, value) for name, value in labels.items() if name not in ("alertname", "severity"))
    return Firing(labels["alertname"], tuple(group), round(since.timestamp() * 1000))
