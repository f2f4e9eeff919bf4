"""What an operator reads when alerts do not get through: once, what to do, and no secret in any of it."""

import asyncio
import logging
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from spanloom_processors.delivery import streak as streak_module
from spanloom_processors.delivery.alertmanager import BATCH, Alertmanager
from spanloom_processors.delivery.pagerduty import PagerDuty
from spanloom_processors.delivery.post import Retry
from spanloom_processors.delivery.route import Route, default_route
from spanloom_processors.delivery.streak import Streak
from spanloom_processors.delivery.webhook import Webhook

TOKEN = "T0KEN-of-the-webhook"


def _route(*targets: Any) -> Route:
    return Route(targets, first_wait_s=0.01, longest_wait_s=0.02)


def _lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if "spanloom" in record.name]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, ("ERROR", "pagerduty answered 401: check the key or password (SPANLOOM_PAGERDUTY_ROUTING_KEY, ")),
        (403, ("ERROR", "pagerduty answered 403: check the key or password (SPANLOOM_PAGERDUTY_ROUTING_KEY, ")),
        (404, ("ERROR", "pagerduty answered 404: check the address (SPANLOOM_PAGERDUTY_ROUTING_KEY, ")),
        (301, ("ERROR", "pagerduty answered 301: a redirect is not followed: ")),
        (503, ("WARNING", "pagerduty answered 503: its alerts are kept, and tried again; if it lasts, check ")),
    ],
)
def test_a_target_that_takes_nothing_is_said_once_with_what_to_do_and_once_when_it_takes_alerts_again(
    tools: Any, caplog: pytest.LogCaptureFixture, status: int, told: tuple[str, str]
) -> None:
    async def story() -> None:
        double = tools.PagerDutyDouble()
        double.answers = [(status, {})] * 7
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.safe_offset() == 1)
        assert +route.counts == {("pagerduty", "retried"): 7, ("pagerduty", "taken"): 1}

    asyncio.run(story())
    (level, failing), over = _lines(caplog)
    assert (level, failing[: len(told[1])]) == told
    assert over == ("WARNING", "pagerduty takes alerts again, after 7 that failed")


def test_a_certificate_that_nobody_signed_is_an_error_that_says_so(
    tools: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is absent")
    made = ["openssl", "req", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    named = ["-subj", "/CN=hook", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made, *named], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def story() -> None:
        async with tools.serving(tools.Target(), context) as url:
            route = _route(Webhook(f"{url}/{TOKEN}"))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.counts["webhook", "retried"] > 2)

    asyncio.run(story())
    ((level, line),) = _lines(caplog)
    assert level == "ERROR"
    assert "webhook: ClientConnectorCertificateError (self-signed certificate): check its certificate" in line
    assert "SPANLOOM_WEBHOOK_URL" in line


def test_each_cause_of_a_streak_is_one_line_and_streaks_that_come_and_go_are_a_line_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    streak = Streak("webhook", "SPANLOOM_WEBHOOK_URL")
    for now in range(600):  # a try a second: an outage, within which the cause changes once
        streak.failed(Retry("webhook: ClientConnectorError") if now < 300 else Retry("webhook answered 503"), now)
    assert len(_lines(caplog)) == 2
    streak.over()
    caplog.clear()
    for now in range(700, 1300):  # and ten minutes of a target that takes every other alert
        streak.failed(Retry("webhook answered 503"), now)
        streak.over()
    assert len(_lines(caplog)) == 2 * 600 / streak_module.QUIET_S


def test_a_replica_that_does_not_answer_is_named_by_its_place(tools: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with tools.serving(tools.Target()) as url:
            route = default_route(f"{url},http://127.0.0.1:{tools.free_port()}")
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.counts["alertmanager", "retried"] > 0)

    asyncio.run(story())
    ((_, line),) = _lines(caplog)
    assert "check SPANLOOM_ALERTMANAGER_URL, 2 of 2" in line


class Choosy:
    """An Alertmanager that takes the alerts of a request one and all, or refuses them together."""

    def __init__(self, most: int = 10**6) -> None:
        self.most = most
        self.heard: set[str] = set()
        self.requests = 0

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests += 1
        services = [alert["labels"]["service"] for alert in await request.json()]
        if "bad" in services:
            return web.Response(status=400, text="bad is not taken")
        if len(services) > self.most:
            return web.Response(status=413)
        self.heard.update(services)
        return web.Response()


@pytest.mark.parametrize("most", [10**6, 100], ids=["a bad alert", "a bad alert, and few at once"])
def test_what_alertmanager_refuses_keeps_no_other_alert_from_being_told(
    tools: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("spanloom_processors.delivery.route.RESEND_MS", 20)
    manager, services = Choosy(most), [f"s{n}" for n in range(BATCH + 40)]

    async def story() -> None:
        async with tools.serving(manager) as url:
            route = _route(Alertmanager(url))
            for offset, service in enumerate([*services[:7], "bad", *services[7:]]):
                route.deliver(tools.alert(service=service), offset)
            async with tools.running(route):
                await tools.until(lambda: route.safe_offset() == len(services) + 1)
                told = manager.requests
                await tools.until(lambda: manager.requests > told + 40)  # it is told everything again, the bad one too
        assert +route.counts == {("alertmanager", "taken"): len(services), ("alertmanager", "refused"): 1}

    asyncio.run(story())
    assert manager.heard == set(services)
    refused = [line for _, line in _lines(caplog)]
    assert refused == ["alert refused: alertmanager answered 400: bad is not taken; not told there: chat: p95 is 2.5 s"]


def _answering(status: int, text: str) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return answer


@pytest.mark.parametrize("text", [f"no such hook: /services/{TOKEN}", f"{'x' * 290}{TOKEN}", TOKEN[:12], TOKEN.upper()])
def test_what_a_webhook_answers_is_in_no_log(tools: Any, caplog: pytest.LogCaptureFixture, text: str) -> None:
    async def story() -> None:
        async with tools.serving(_answering(400, text)) as url:
            route = _route(Webhook(f"{url}/services/{TOKEN}?token={TOKEN}"))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.safe_offset() == 1)

    asyncio.run(story())
    assert "alert refused: webhook answered 400; not told there" in caplog.text
    assert TOKEN[:8].lower() not in caplog.text.lower()


@pytest.mark.parametrize("place", ["{key}", "x" * 285 + "{key}", "half of it: {half}", "{upper}"])
def test_no_piece_of_pagerdutys_key_is_in_any_log(tools: Any, caplog: pytest.LogCaptureFixture, place: str) -> None:
    key = "0a1b2c3d4e5f6789a0b1c2d3e4f56789"
    text = place.format(key=key, half=key[:16], upper=key.upper())

    async def story() -> None:
        async with tools.serving(_answering(400, text)) as url:
            route = _route(PagerDuty(key, f"{url}/v2/enqueue"))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.safe_offset() == 1)

    asyncio.run(story())
    assert "alert refused: pagerduty answered 400" in caplog.text
    assert not any(key[at : at + 8] in caplog.text.lower() for at in range(25))


@pytest.mark.parametrize(
    "where", ["http://ops:hunter2hunter2@{}", "http://{}/hunter2hunter2", "http://{}?k=hunter2hunter2"]
)
@pytest.mark.parametrize("status", [400, 401, 503])
def test_the_password_of_an_alertmanager_is_in_no_log(
    tools: Any, caplog: pytest.LogCaptureFixture, where: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        async with tools.serving(_answering(status, "no: hunter2hunter2 b3BzOmh1bnRlcjJodW50ZXIy")) as url:
            route = _route(Alertmanager(where.format(url.removeprefix("http://"))))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: bool(_lines(caplog)))

    asyncio.run(story())
    told = " ".join(line for _, line in _lines(caplog))
    assert f"alertmanager answered {status}" in told
    assert "hunter2" not in told
    assert "b3BzOmh1" not in told


def test_every_outcome_is_counted_from_0_so_that_the_first_refusal_is_an_increase() -> None:
    counts = default_route("http://a").counts
    assert counts == {("alertmanager", outcome): 0 for outcome in ("taken", "retried", "refused", "dropped")}
