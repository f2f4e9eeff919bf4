"""Alerts to deliver, and who takes them: a strict double of PagerDuty, a plain HTTP target, a real Alertmanager."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiohttp import web
from spanloom_processors.core.alerts.records import Alert, identity

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
ALERTMANAGER = shutil.which("prometheus-alertmanager")


def alert(state: str = "firing", service: str = "chat", since: int = 0, **given: Any) -> Alert:
    since = since or int(time.time() * 1000) - 20_000
    group = (("environment", "prod"), ("service", service))
    return Alert(
        **{
            "rule": "RequestLatencyP95High", "group": [{"key": key, "value": value} for key, value in group],
            "identity": identity("RequestLatencyP95High", group, since), "state": state, "severity": "critical",
            "value": 2.5, "threshold": 1.2, "unit": "seconds", "window_start": since - 60_000, "window_end": since,
            "since": since, "fired": since + 4000, "resolved": since + 15_000 if state == "resolved" else 0,
            "at": since + (15_000 if state == "resolved" else 4000), "partial": False,
            "trace_ids": ["4bf92f3577b34da6a3ce929d0e0e4736"], "summary": "chat: p95 is 2.5 s", "description": "",
        }
        | given
    )  # fmt: skip


def violations(event: Any) -> list[str]:
    """What PagerDuty's documentation of the Events API v2 forbids about an event."""
    found = []

    def check(good: bool, rule: str) -> None:
        if not good:
            found.append(rule)

    known = {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}
    check(set(event) <= known, "unknown key")
    check(
        isinstance(event.get("routing_key"), str) and len(event["routing_key"]) == 32, "routing_key has 32 characters"
    )
    check(event.get("event_action") in ("trigger", "acknowledge", "resolve"), "event_action")
    check(0 < len(event.get("dedup_key", "x")) <= 255, "dedup_key has at most 255 characters")
    if event.get("event_action") != "trigger":
        check("dedup_key" in event, "dedup_key is required")
        return found
    payload = event.get("payload", {})
    details = {"timestamp", "component", "group", "class", "custom_details"}
    check(set(payload) <= details | {"summary", "source", "severity"}, "unknown key of payload")
    for key in ("summary", "source"):
        check(isinstance(payload.get(key), str) and 0 < len(payload[key]) <= 1024, f"{key} has 1 to 1024 characters")
    check(payload.get("severity") in ("critical", "error", "warning", "info"), "severity")
    check(isinstance(payload.get("custom_details", {}), dict), "custom_details is an object")
    check(all(isinstance(payload.get(key, ""), str) for key in ("component", "group", "class")), "texts")
    try:
        datetime.fromisoformat(payload.get("timestamp", "2026-01-01T00:00:00Z"))
    except ValueError:
        found.append("timestamp is ISO 8601")
    return found


class PagerDutyDouble:
    """Answers as documented: 202, 400 for what breaks the schema or the limits; first whatever is in `answers`."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests = 0
        self.incidents: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text="not now")
        event = json.loads(body)
        wrong = violations(event) + ["512 KB"] * (len(body) > 512 * 1024)
        wrong += ["content type"] * (request.content_type != "application/json")
        if wrong or request.path != "/v2/enqueue":
            self.complaints += wrong
            return web.json_response({"status": "invalid event", "errors": [*wrong, str(event)]}, status=400)
        self._take(event)
        return web.json_response({"status": "success", "message": "Event processed"}, status=202)

    def _take(self, event: dict[str, Any]) -> None:
        open_ones = [one for one in self.incidents if one["key"] == event["dedup_key"] and one["open"]]
        if event["event_action"] == "resolve":
            for one in open_ones:
                one["open"] = False
        elif open_ones:
            open_ones[0]["events"].append(event)
        else:
            self.incidents.append({"key": event["dedup_key"], "open": True, "events": [event]})


class Target:
    """Remembers the JSON of every POST; answers from `answers`, then 200."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.bodies: list[Any] = []
        self.paths: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        body = await request.json()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers)
        self.bodies.append(body)
        return web.Response()


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.Response]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL under which a handler answers."""

    async def handle(request: web.Request) -> web.Response:
        return await handler(request)

    app = web.Application(client_max_size=10**7)
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(true: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(route: Any) -> AsyncIterator[Any]:
    task = asyncio.create_task(route.run())
    try:
        yield route
    finally:
        task.cancel()
        await asyncio.wait([task])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def alertmanager(folder: Path, port: int, receiver: str = "http://127.0.0.1:9/") -> Iterator[str]:
    """A real Alertmanager that sends what it gets to a webhook at once."""
    assert ALERTMANAGER
    config = folder / "alertmanager.yml"
    config.write_text(json.dumps({
        "route": {"receiver": "r", "group_wait": "0s", "group_interval": "1s", "group_by": ["..."]},
        "receivers": [{"name": "r", "webhook_configs": [{"url": receiver, "send_resolved": True}]}],
    }))  # fmt: skip
    command = [
        ALERTMANAGER, f"--config.file={config}", f"--storage.path={folder}", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urlopen(f"{url}/-/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class Tools:
    """All of it, for tests to take."""

    alert = staticmethod(alert)
    violations = staticmethod(violations)
    serving = staticmethod(serving)
    running = staticmethod(running)
    until = staticmethod(until)
    free_port = staticmethod(free_port)
    alertmanager = staticmethod(alertmanager)
    PagerDutyDouble = PagerDutyDouble
    Target = Target
    ROUTING_KEY = ROUTING_KEY


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools


@pytest.fixture(scope="session")
def real_alertmanager() -> None:
    if not ALERTMANAGER:
        pytest.skip("prometheus-alertmanager is not installed (Debian package of that name; .ci/run installs it)")
