"""The route never waits, never loses, and tells each target what it wants to hear."""

import asyncio
import logging
from typing import Any

import pytest
from spanloom_processors.delivery import route as route_module
from spanloom_processors.delivery.alertmanager import Alertmanager
from spanloom_processors.delivery.pagerduty import PagerDuty
from spanloom_processors.delivery.rendering import moment
from spanloom_processors.delivery.route import Route, default_route
from spanloom_processors.delivery.webhook import Webhook


def _route(*targets: Any, **given: Any) -> Route:
    return Route(targets, first_wait_s=0.01, longest_wait_s=0.05, **given)


def test_pagerduty_gets_one_incident_which_resolves(tools: Any) -> None:
    async def story() -> None:
        double = tools.PagerDutyDouble()
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                fired = tools.alert()
                route.deliver(tools.alert("pending", fired=0), 0)
                route.deliver(fired, 1)
                route.deliver(fired, 2)
                await tools.until(lambda: route.safe_offset() == 3)
                assert [one["open"] for one in double.incidents] == [True]
                route.deliver(tools.alert("resolved", since=fired["since"]), 3)
                await tools.until(lambda: route.safe_offset() == 4)
        (incident,) = double.incidents
        assert (incident["open"], incident["key"]) == (False, fired["identity"])
        payload = incident["events"][0]["payload"]
        assert payload["severity"] == "critical"
        assert payload["custom_details"]["trace_ids"] == fired["trace_ids"][0]
        assert payload["custom_details"]["threshold"] == "1.2 s"
        assert double.complaints == []

    asyncio.run(story())


def test_a_record_that_a_newer_one_overtook_opens_no_incident_again(tools: Any) -> None:
    """A worker that lost its place while it slept writes what another has said, and ended, since."""

    async def story() -> None:
        double = tools.PagerDutyDouble()
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                fired = tools.alert()
                route.deliver(fired, 0)
                route.deliver(tools.alert("resolved", since=fired["since"]), 1)
                route.deliver(fired, 2)
                await tools.until(lambda: route.safe_offset() == 3)
        assert [one["open"] for one in double.incidents] == [False]
        assert double.requests == 2

    asyncio.run(story())


def test_429_5xx_redirects_and_a_lost_connection_are_tried_again_until_it_is_taken(tools: Any) -> None:
    async def story() -> None:
        double = tools.PagerDutyDouble()
        double.answers = [(429, {"Retry-After": "0"}), (500, {}), (503, {}), (302, {"Location": "/elsewhere"})]
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                route.deliver(tools.alert(), 7)
                await tools.until(lambda: route.safe_offset() == 8)
        assert (double.requests, len(double.incidents)) == (5, 1)
        assert +route.counts == {("pagerduty", "retried"): 4, ("pagerduty", "taken"): 1}

    asyncio.run(story())


def test_what_pagerduty_refuses_is_not_tried_again_and_the_key_is_in_no_log(
    tools: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        double = tools.PagerDutyDouble()
        async with tools.serving(double) as url:
            route = _route(PagerDuty(tools.ROUTING_KEY, f"{url}/v2/enqueue"))
            async with tools.running(route):
                route.deliver(tools.alert(severity="deafening"), 0)
                route.deliver(tools.alert(service="other"), 1)
                await tools.until(lambda: route.safe_offset() == 2)
        assert double.requests == 2
        assert len(double.incidents) == 1
        assert route.counts[("pagerduty", "refused")] == 1

    asyncio.run(story())
    assert "alert refused: pagerduty answered 400" in caplog.text
    assert tools.ROUTING_KEY not in caplog.text


def test_an_absent_target_holds_back_the_commit_but_not_the_caller(tools: Any) -> None:
    async def story() -> None:
        route = _route(PagerDuty(tools.ROUTING_KEY, f"http://127.0.0.1:{tools.free_port()}/v2/enqueue"))
        async with tools.running(route):
            for offset in range(5):
                route.deliver(tools.alert(service=f"s{offset}"), offset)
            await tools.until(lambda: route.counts[("pagerduty", "retried")] > 1)
            assert route.safe_offset() == 0

    asyncio.run(story())


def test_after_a_restart_what_fires_is_said_again_to_alertmanager_but_pages_nobody(tools: Any) -> None:
    async def story() -> None:
        double, manager = tools.PagerDutyDouble(), tools.Target()
        async with tools.serving(double) as pager_url, tools.serving(manager) as manager_url:
            direct, managed = _route(PagerDuty(tools.ROUTING_KEY, pager_url)), _route(Alertmanager(manager_url))
            fired = tools.alert()
            for route in (direct, managed):
                route.restore([tools.alert("resolved", service="b", resolved=1, at=1), fired])
            async with tools.running(direct), tools.running(managed):
                await tools.until(lambda: manager.bodies != [])
                await asyncio.sleep(0.05)
        assert double.requests == 0
        (said,) = manager.bodies
        assert [one["labels"]["service"] for one in said] == ["chat"]

    asyncio.run(story())


def test_alertmanager_hears_a_firing_alert_again_and_again_and_a_resolved_one_for_five_minutes(
    tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_module, "RESEND_MS", 20)
    now = [1_790_000_100_000]

    async def story() -> None:
        manager = tools.Target()
        async with tools.serving(manager) as url:
            route = _route(Alertmanager(url), clock=lambda: now[0])
            async with tools.running(route):
                route.deliver(tools.alert(since=1_790_000_000_000), 0)
                await tools.until(lambda: len(manager.bodies) > 4)
                route.deliver(tools.alert("resolved", since=1_790_000_000_000, resolved=1_790_000_090_000), 1)
                await tools.until(lambda: manager.bodies[-1][0]["endsAt"] == "2026-09-21T14:14:50.000Z")
                heard = len(manager.bodies)
                now[0] = 1_790_000_090_000 + 300_000
                await tools.until(lambda: len(manager.bodies) > heard + 2)
                now[0] += 1
                await asyncio.sleep(0.1)
                heard = len(manager.bodies)
                await asyncio.sleep(0.2)
                assert len(manager.bodies) == heard
        assert set(manager.paths) == {"/api/v2/alerts"}

    asyncio.run(story())


def test_a_record_read_again_does_not_undo_a_newer_one(tools: Any) -> None:
    async def story() -> None:
        manager = tools.Target()
        async with tools.serving(manager) as url:
            route = _route(Alertmanager(url))
            fired = tools.alert()
            route.restore([tools.alert("resolved", since=fired["since"])])
            route.deliver(fired, 3)
            async with tools.running(route):
                await tools.until(lambda: route.safe_offset() == 4)
        assert {one["endsAt"] for said in manager.bodies for one in said} == {moment(fired["since"] + 15_000)}

    asyncio.run(story())


def test_what_was_over_and_has_begun_anew_before_it_could_be_told_is_told_as_over(tools: Any) -> None:
    async def story() -> None:
        manager = tools.Target()
        async with tools.serving(manager) as url:
            route = _route(Alertmanager(url))
            first = tools.alert()
            over, anew = tools.alert("resolved", since=first["since"]), tools.alert(since=first["since"] + 16_000)
            for offset, record in enumerate((first, over, anew)):
                route.deliver(record, offset)
            async with tools.running(route):
                await tools.until(lambda: route.safe_offset() == 3)
        told = [one["annotations"]["identity"] for one in manager.bodies[0]]
        assert told == [over["identity"], anew["identity"]]
        assert manager.bodies[0][0]["endsAt"] == moment(over["resolved"])

    asyncio.run(story())


def test_every_alertmanager_gets_it_and_one_of_them_is_enough(tools: Any) -> None:
    async def story() -> None:
        first, second = tools.Target(), tools.Target()
        async with tools.serving(first) as a, tools.serving(second) as b:
            absent = f"http://127.0.0.1:{tools.free_port()}"
            route = default_route(f"{a}, {b},{absent}")
            async with tools.running(route):
                route.deliver(tools.alert(), 0)
                await tools.until(lambda: bool(first.bodies and second.bodies))
                await tools.until(lambda: route.safe_offset() == 1)

    asyncio.run(story())


def test_a_webhook_gets_each_transition_in_alertmanagers_shape(tools: Any) -> None:
    async def story() -> None:
        target = tools.Target()
        target.answers = [(404, {}), (502, {})]
        async with tools.serving(target) as url:
            route = _route(Webhook(f"{url}/hook"))
            fired = tools.alert()
            async with tools.running(route):
                route.deliver(fired, 0)
                route.deliver(tools.alert("resolved", since=fired["since"]), 1)
                await tools.until(lambda: route.safe_offset() == 2)
        first, second = target.bodies
        assert (first["version"], first["status"], second["status"]) == ("4", "firing", "resolved")
        assert first["groupKey"] == second["groupKey"] == fired["identity"]
        assert first["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
        assert first["alerts"][0]["annotations"]["trace_ids"] == fired["trace_ids"][0]

    asyncio.run(story())


def test_the_default_route_is_alertmanager_before_pagerduty_before_a_webhook(tools: Any) -> None:
    def names(route: Route) -> list[str]:
        return [line.target.name for line in route._lines]

    assert names(default_route("http://a", tools.ROUTING_KEY, "http://c")) == ["alertmanager"]
    assert names(default_route("", tools.ROUTING_KEY, "http://c")) == ["pagerduty"]
    assert names(default_route(webhook_url="http://c")) == ["webhook"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alertmanager_url": "localhost:9093"}, "SPANLOOM_ALERTMANAGER_URL must begin with http:// or https://"),
        ({"webhook_url": "ftp://secret@host"}, "SPANLOOM_WEBHOOK_URL must begin with http:// or https://"),
        (
            {"pagerduty_routing_key": "secret"},
            "PAGERDUTY_ROUTING_KEY is not a routing key: it has 32 characters",
        ),
    ],
)
def test_what_cannot_be_a_target_is_said_in_a_line_without_secrets(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        default_route(**given)
    assert "secret" not in str(raised.value)


def test_with_nobody_to_page_an_alert_is_a_line_in_the_log(tools: Any, caplog: pytest.LogCaptureFixture) -> None:
    route = default_route()
    with caplog.at_level(logging.WARNING):
        route.deliver(tools.alert(), 0)
    assert "alert firing: chat: p95 is 2.5 s (nobody is configured to be paged)" in caplog.text
    assert route.safe_offset() == 1
