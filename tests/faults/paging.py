"""Who pages people is away, unwell or new (49, 50, 53), and services fall silent again and again (52).

Who was paged is compared with a backtest when all has come to rest, as after every fault.
"""

import random
import signal

from tests.faults.stage import Stage

UNWELL = (
    b"500 Internal Server Error\r\n",
    b"429 Too Many Requests\r\nRetry-After: 1\r\n",
    b"301 Moved\r\nLocation: /\r\n",
)
RESENT_S = 90.0
"""What fires is said again every minute."""
SILENT_S = 26.0
"""Longer than the window of the rule NoData, and the lateness that it waits for."""


def pager_away(stage: Stage, rnd: random.Random, seconds: float = 60) -> None:
    """49: nobody takes alerts for a while; then they are told."""
    stage.paging.refuse()
    stage.run(seconds)
    _heard_of_again(stage)


def pager_unwell(stage: Stage, rnd: random.Random, seconds: float = 15) -> None:
    """50: it answers with 500, with 429, with a redirect, and then not at all."""
    for status in UNWELL:
        stage.paging.answer = b"HTTP/1.1 " + status + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        stage.run(seconds)
    stage.paging.answer, stage.paging.silent = None, True
    stage.run(seconds)
    _heard_of_again(stage)


def silences(stage: Stage, rnd: random.Random, times: int = 3) -> None:
    """52: every producer stands still, and goes on: each time the silence is an alert, which is over then."""
    for _ in range(times):
        for load in stage.loads:
            load.signal(signal.SIGSTOP)
        before = len(stage.pager.arrivals)
        _told(stage, before, firing=True)
        for load in stage.loads:
            load.signal(signal.SIGCONT)
        _told(stage, before, firing=False)
        stage.run(rnd.uniform(1, 5))


def pager_anew(stage: Stage, rnd: random.Random) -> None:
    """53: it is started anew and knows nothing: what fires is said again."""
    for load in stage.loads:
        load.signal(signal.SIGSTOP)
    _told(stage, len(stage.pager.arrivals), firing=True)
    stage.paging.refuse()
    stage.run(2)
    stage.paging.heal()
    _told(stage, len(stage.pager.arrivals), firing=True)
    for load in stage.loads:
        load.signal(signal.SIGCONT)


def _heard_of_again(stage: Stage) -> None:
    before = len(stage.pager.arrivals)
    stage.paging.heal()
    stage.until(lambda: len(stage.pager.arrivals) > before, RESENT_S, "an alert is told once it can be")


def _told(stage: Stage, after: int, firing: bool) -> None:
    """Wait until the silence of every producer has been told, as an alert or as over."""

    def told() -> bool:
        found = {
            one.alert.labels["service"]
            for one in stage.pager.arrivals[after:]
            if one.alert.labels["alertname"] == "NoData" and one.firing == firing
        }
        return found >= {load.service for load in stage.loads}

    stage.until(told, SILENT_S + RESENT_S, f"the silence of every producer is told, {firing=}")
