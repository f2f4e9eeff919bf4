"""Nobody to page is there for a while, or slow, or new; the clock jumps; the worker dies. One page each time."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from spanloom_processors.delivery import post as post_module
from spanloom_processors.delivery import route as route_module
from spanloom_processors.delivery.alertmanager import Alertmanager
from spanloom_processors.delivery.pagerduty import PagerDuty
from spanloom_processors.delivery.rendering import moment
from spanloom_processors.delivery.route import Route
from spanloom_processors.delivery.webhook import Webhook

START = 1_790_000_000_000


def _route(*targets: Any, **given: Any) -> Route:
    return Route(targets, first_wait_s=0.01, longest_wait_s=0.05, **given)


def _pages(receiver: Any) -> Counter[tuple[str, str]]:
    """How often Alertmanager notified its receiver, by service and state."""
    alerts = [alert for body in receiver.bodies for alert in body["alerts"]]
    return Counter((alert["labels"]["service"], alert["status"]) for alert in alerts)


@pytest.mark.usefixtures("real_alertmanager")
def test_alertmanager_is_away_and_starts_anew_and_each_alert_is_one_page_and_one_resolution(
    tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes shortened to seconds: states are said again every 0.2 s here, every minute else."""
    monkeypatch.setattr(route_module, "RESEND_MS", 200)

    async def story() -> None:
        receiver, port = tools.Target(), tools.free_port()
        async with tools.serving(receiver) as hook:
            first = tools.alertmanager(tmp_path, port, hook)
            url = await asyncio.to_thread(first.__enter__)
            route = _route(Alertmanager(url))
            async with tools.running(route):
                known, unheard = tools.alert(service="known"), tools.alert(service="unheard")
                route.deliver(known, 0)
                await tools.until(lambda: _pages(receiver) == {("known", "firing"): 1})
                await asyncio.to_thread(first.__exit__, None, None, None)
                route.deliver(unheard, 1)
                await tools.until(lambda: route.counts["alertmanager", "retried"] > 20)
                assert route.safe_offset() == 1
                second = tools.alertmanager(tmp_path, port, hook)
                await asyncio.to_thread(second.__enter__)
                try:
                    await tools.until(lambda: route.safe_offset() == 2)
                    await tools.until(lambda: ("unheard", "firing") in _pages(receiver))
                    await asyncio.sleep(2.5)  # two of its intervals, in which it could page again
                    assert _pages(receiver) == {("known", "firing"): 1, ("unheard", "firing"): 1}
                    for offset, alert in enumerate((known, unheard), 2):
                        now = route._clock()
                        route.deliver(alert | {"state": "resolved", "resolved": now, "at": now}, offset)
                    await tools.until(lambda: sum(_pages(receiver).values()) == 4)
                    await asyncio.sleep(1.5)
                finally:
                    await asyncio.to_thread(second.__exit__, None, None, None)
        assert set(_pages(receiver).values()) == {1}
        assert len(_pages(receiver)) == 4

    asyncio.run(story())


def test_a_target_that_is_too_slow_is_asked_again(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    asked = 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(5 if asked < 3 else 0)
        return web.Response()

    async def story() -> None:
        async with tools.serving(slow) as url:
            route = _route(Alertmanager(url))
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.safe_offset() == 1)
        assert +route.counts == {("alertmanager", "retried"): 2, ("alertmanager", "taken"): 1}

    asyncio.run(story())


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {}], ids=["said", "unsaid"])
def test_after_429_pagerduty_is_left_alone_for_as_long_as_it_wants(
    tools: Any, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_module, "PATIENCE_S", 1.0)

    async def story() -> None:
        double = tools.PagerDutyDouble()
        double.answers = [(429, headers)]
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                begun = asyncio.get_running_loop().time()
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: route.safe_offset() == 1)
                assert asyncio.get_running_loop().time() - begun > 0.95
        assert (double.requests, len(double.incidents)) == (2, 1)

    asyncio.run(story())


@pytest.mark.parametrize("sent", [False, True], ids=["before it was sent", "before the commit"])
def test_a_worker_that_dies_between_verdict_and_commit_opens_one_incident(tools: Any, sent: bool) -> None:
    async def story() -> None:
        double, fired = tools.PagerDutyDouble(), tools.alert()
        async with tools.serving(double) as url:
            dying, heir = (_route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue")) for _ in range(2))
            dying.deliver(fired, 5)
            if sent:
                async with tools.running(dying):
                    await tools.until(lambda: dying.safe_offset() == 6)
            heir.restore([])  # the commit is still at 5: nothing before it is known, and 5 is read again
            async with tools.running(heir):
                heir.deliver(fired, 5)
                await tools.until(lambda: heir.safe_offset() == 6)
                heir.deliver(tools.alert("resolved", since=fired["since"]), 6)
                await tools.until(lambda: heir.safe_offset() == 7)
        (incident,) = double.incidents
        assert (incident["key"], incident["open"]) == (fired["identity"], False)
        assert len(incident["events"]) == 1 + sent
        assert double.complaints == []

    asyncio.run(story())


def test_a_worker_that_dies_when_it_has_told_that_an_alert_is_over_says_to_nobody_that_it_fires(tools: Any) -> None:
    """Its heir begins before the resolution, which the log has and whoever pages people has heard."""

    async def story() -> None:
        double, manager, hook = tools.PagerDutyDouble(), tools.Target(), tools.Target()
        async with tools.serving(double) as a, tools.serving(manager) as b, tools.serving(hook) as c:
            fired = tools.alert()
            over = tools.alert("resolved", since=fired["since"])
            urls = PagerDuty(tools.ROUTING_KEY, f"{a}/v2/enqueue"), Alertmanager(b), Webhook(c)
            for committed in (6, 5):  # before the resolution, and before both
                for target in urls:
                    heir = _route(target)
                    heir.restore([fired][: committed - 5], [fired, over][committed - 5 :])
                    async with tools.running(heir):
                        if target.resends:
                            await tools.until(lambda: manager.bodies != [])
                        for offset in range(committed, 7):
                            heir.deliver((fired, over)[offset - 5], offset)
                            await tools.until(lambda heir=heir, offset=offset: heir.safe_offset() == offset + 1)
        assert double.incidents == []  # PagerDuty was told that it is over
        assert double.requests == 2
        assert {one["endsAt"] for body in manager.bodies for one in body} == {moment(over["resolved"])}
        assert [body["status"] for body in hook.bodies] == ["resolved", "firing", "resolved"]

    asyncio.run(story())


def test_what_flaps_while_nobody_answers_is_told_in_order_each_time_an_incident_of_its_own(tools: Any) -> None:
    async def story() -> None:
        double = tools.PagerDutyDouble()
        double.answers = [(500, {})] * 15
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                for turn in range(10):
                    since = START + 20_000 * turn
                    route.deliver(tools.alert(since=since), 2 * turn)
                    route.deliver(tools.alert("resolved", since=since), 2 * turn + 1)
                await tools.until(lambda: route.safe_offset() == 20)
        assert [(len(one["events"]), one["open"]) for one in double.incidents] == [(1, False)] * 10
        assert len({one["key"] for one in double.incidents}) == 10

    asyncio.run(story())


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000], ids=["back", "ahead"])
def test_a_clock_that_jumps_stops_no_resend_and_ends_no_firing_alert(
    tools: Any, jump_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_module, "RESEND_MS", 20)
    now = [START + 30_000]

    async def story() -> None:
        manager = tools.Target()
        async with tools.serving(manager) as url:
            route = _route(Alertmanager(url), clock=lambda: now[0])
            async with tools.running(route):
                route.deliver(tools.alert(since=START), 0)
                await tools.until(lambda: len(manager.bodies) > 2)
                now[0] += jump_ms
                heard = len(manager.bodies)
                await tools.until(lambda: len(manager.bodies) > heard + 3)
        ends = [one["endsAt"] for body in manager.bodies for one in body]
        assert len(ends) == len(manager.bodies)  # it is there each time
        assert len(set(ends)) == 2  # always as far ahead of the clock as before

    asyncio.run(story())
