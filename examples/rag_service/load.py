"""The load generator: people who ask, rate some answers, and three incidents at set times.

`python -m rag_service.load` writes one JSON line a second about what it has done so far, and one whenever an incident
begins or ends.
"""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import click
import httpx

from rag_service.questions import HOSTILE, QUESTIONS

TENANTS = ("acme", "globex", "initech")
_HOSTILE_USUALLY, _HOSTILE_IN_WAVE = 0.02, 0.45
_RATED = 0.15


@dataclass(frozen=True)
class Incident:
    """What goes wrong from `start` to `end`, in seconds after the load began."""

    name: str
    start: float
    end: float
    agent: dict[str, Any] | None = None  # what the agent is told at the start
    hostile: float = _HOSTILE_USUALLY  # the share of questions that must be blocked


def incidents(seconds: float) -> tuple[Incident, ...]:
    """The three incidents, each a fifth of the run, with time between them to recover."""
    fifth = seconds / 5
    return (
        Incident("slow_retrieval", 0.6 * fifth, 1.6 * fifth, {"retrieval_delay_ms": 5000}),
        Incident("tripled_tokens", 2.0 * fifth, 3.0 * fifth, {"prompt_version": "2"}),
        Incident("blocked_wave", 3.4 * fifth, 4.4 * fifth, hostile=_HOSTILE_IN_WAVE),
    )


NORMAL = {"retrieval_delay_ms": 0, "prompt_version": "1"}


class Load:
    """Drives the chat API at `rate` requests a second: arrivals are random and do not wait for answers."""

    def __init__(self, chat: str, agent: str, rate: float, seconds: float, seed: int) -> None:
        self._chat, self._agent, self._rate, self._seconds = chat, agent, rate, seconds
        self._incidents = incidents(seconds)
        self._random = random.Random(seed)
        self._hostile = _HOSTILE_USUALLY
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        """Ask until the time is over, then wait for the last answers."""
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client, asyncio.TaskGroup() as tasks:
            reporter = tasks.create_task(self._report())
            switches = [tasks.create_task(self._raise(client, incident)) for incident in self._incidents]
            async with asyncio.TaskGroup() as people:
                await self._arrive(client, people)
            await asyncio.gather(*switches)
            reporter.cancel()
        self._say("ended")

    async def _arrive(self, client: httpx.AsyncClient, people: asyncio.TaskGroup) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            people.create_task(self._visit(client))
            await asyncio.sleep(self._random.expovariate(self._rate))

    async def _visit(self, client: httpx.AsyncClient) -> None:
        number = self._random.randrange(40)
        who = {
            "X-User": f"user-{number}",
            "X-Session": f"session-{number}-{int(time.time()) // 60}",
            "X-Tenant": TENANTS[number % len(TENANTS)],
        }
        if self._random.random() < self._hostile:
            asked = {"question": self._random.choice(HOSTILE)}
        else:
            question = self._random.choice(QUESTIONS)
            asked = {"question": question.text, "expected": question.expected}
        try:
            await self._ask(client, asked, who)
        except httpx.HTTPError:
            self.done["failed"] += 1

    async def _ask(self, client: httpx.AsyncClient, asked: dict[str, str], who: dict[str, str]) -> None:
        answer = (await client.post(f"{self._chat}/chat", json=asked, headers=who)).raise_for_status().json()
        self.done["blocked" if answer["blocked"] else "answered"] += 1
        if not answer["blocked"] and self._random.random() < _RATED:
            await asyncio.sleep(self._random.uniform(0.2, 1.2))
            rating = {"trace_id": answer["trace_id"], "thumbs": 1 if answer["citations"] else -1}
            (await client.post(f"{self._chat}/feedback", json=rating, headers=who)).raise_for_status()
            self.done["rated"] += 1

    async def _raise(self, client: httpx.AsyncClient, incident: Incident) -> None:
        await asyncio.sleep(incident.start)
        await self._tell(client, incident.agent)
        self._hostile = incident.hostile
        self._say("begins", incident.name)
        await asyncio.sleep(incident.end - incident.start)
        await self._tell(client, incident.agent and NORMAL)
        self._hostile = _HOSTILE_USUALLY
        self._say("is over", incident.name)

    async def _tell(self, client: httpx.AsyncClient, behaviour: dict[str, Any] | None) -> None:
        if behaviour:
            (await client.put(f"{self._agent}/admin/behaviour", json=behaviour)).raise_for_status()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._say("running")

    def _say(self, event: str, incident: str | None = None) -> None:
        at = time.time_ns() // 1_000_000
        print(json.dumps({"at": at, "event": event, "incident": incident, "done": self.done}), flush=True)


@click.command()
@click.option("--chat", default="http://127.0.0.1:8091", show_default=True, help="The chat API.")
@click.option("--agent", default="http://127.0.0.1:8092", show_default=True, help="The agent, told about incidents.")
@click.option("--rate", default=4.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=90.0, show_default=True, help="How long; the incidents scale with it.")
@click.option("--seed", default=1, show_default=True, help="Of the randomness: which questions, when, by whom.")
def main(chat: str, agent: str, rate: float, seconds: float, seed: int) -> None:
    """Ask the example service real questions, with three incidents."""
    asyncio.run(Load(chat, agent, rate, seconds, seed).run())


if __name__ == "__main__":
    main()
