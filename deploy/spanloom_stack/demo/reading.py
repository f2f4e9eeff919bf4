"""What the demo shows while it runs: the last seconds, from panes, and what the load says it did."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

_PANES = """
WITH t.request AND t.service = {service:String} AS entry
SELECT
    toUnixTimestamp(t.start) AS start,
    sketchQuantile(0.5, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, entry)) / 1e6 AS p50,
    sketchQuantile(0.95, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, entry)) / 1e6 AS p95,
    6 * knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars,
    sum(t.unpriced) AS unpriced,
    sumIf(t.spans, entry) AS requests,
    if(requests = 0, NULL, sum(t.blocks) / requests) AS blocked
FROM panes AS t FINAL
WHERE t.start >= {since:UInt32} AND t.late_offset = -1
GROUP BY start
ORDER BY start
"""


@dataclass(frozen=True)
class Pane:
    """Ten seconds of the chat API: latencies in ms, cost in dollars a minute, the share of blocked requests."""

    start: int
    p50: float | None
    p95: float | None
    dollars: float | None  # None: nothing is known
    unpriced: int  # spans without a price: dollars is then a lower bound
    requests: int
    blocked: float | None


def panes(client: Client, service: str, since: int) -> list[Pane]:
    """The panes that began at or after `since` (epoch seconds), the last of them still filling."""
    rows = client.query(_PANES, parameters={"service": service, "since": since}).named_results()
    return [Pane(**row) for row in rows]


@dataclass
class Load:
    """What the load generator wrote to its log so far."""

    log: Path
    done: dict[str, int] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)  # incident → epoch seconds
    over: dict[str, float] = field(default_factory=dict)
    ended: bool = False
    _read: int = 0

    def update(self) -> None:
        """Read what was written since the last time."""
        with self.log.open() as file:
            file.seek(self._read)
            while (line := file.readline()).endswith("\n"):
                self._read = file.tell()
                if line.startswith("{"):
                    self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        self.done = said["done"]
        match said["event"]:
            case "begins":
                self.begun[said["incident"]] = said["at"] / 1000
            case "is over":
                self.over[said["incident"]] = said["at"] / 1000
            case "ended":
                self.ended = True
