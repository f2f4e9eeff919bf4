"""Against Debian's real Alertmanager."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from spanloom_processors.delivery.alertmanager import Alertmanager
from spanloom_processors.delivery.route import Route

pytestmark = pytest.mark.usefixtures("real_alertmanager")


async def _alerts(url: str) -> list[dict[str, Any]]:
    def get() -> Any:
        with urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
            return json.load(answer)

    found: list[dict[str, Any]] = await asyncio.to_thread(get)
    return found


def test_a_page_leaves_it_with_value_threshold_and_traces_and_resolves(tools: Any, tmp_path: Path) -> None:
    async def story() -> None:
        receiver = tools.Target()
        async with tools.serving(receiver) as hook:
            manager = tools.alertmanager(tmp_path, tools.free_port(), hook)
            url = await asyncio.to_thread(manager.__enter__)
            try:
                route = Route([Alertmanager(url)], first_wait_s=0.05)
                async with tools.running(route):
                    fired = tools.alert()
                    route.deliver(fired, 0)
                    await tools.until(lambda: receiver.bodies != [])
                    (known,) = await _alerts(url)
                    assert known["status"]["state"] == "active"
                    resolved = tools.alert("resolved", since=fired["since"], resolved=int(time.time() * 1000))
                    route.deliver(resolved, 1)
                    await tools.until(lambda: receiver.bodies[-1]["status"] == "resolved")
                    assert await _alerts(url) == []
            finally:
                await asyncio.to_thread(manager.__exit__, None, None, None)
        page = receiver.bodies[0]["alerts"][0]
        assert page["labels"] == {
            "alertname": "RequestLatencyP95High",
            "environment": "prod",
            "service": "chat",
            "severity": "critical",
        }
        assert (page["annotations"]["value"], page["annotations"]["threshold"]) == ("2.5 s", "1.2 s")
        assert page["annotations"]["trace_ids"] == fired["trace_ids"][0]
        assert +route.counts == {("alertmanager", "taken"): 2}

    asyncio.run(story())


def test_an_alert_of_the_time_when_it_was_down_arrives_once_it_is_up(tools: Any, tmp_path: Path) -> None:
    async def story() -> None:
        port = tools.free_port()
        route = Route([Alertmanager(f"http://127.0.0.1:{port}")], first_wait_s=0.05, longest_wait_s=0.2)
        async with tools.running(route):
            route.deliver(tools.alert(), 0)
            await tools.until(lambda: route.counts[("alertmanager", "retried")] > 1)
            assert route.safe_offset() == 0
            manager = tools.alertmanager(tmp_path, port)
            url = await asyncio.to_thread(manager.__enter__)
            try:
                await tools.until(lambda: route.safe_offset() == 1)
                assert [one["labels"]["service"] for one in await _alerts(url)] == ["chat"]
            finally:
                await asyncio.to_thread(manager.__exit__, None, None, None)

    asyncio.run(story())
