"""Exits the process when lag stands still: a supervisor's restart is cheap, a hung worker is not.

Consumers have been seen to hang without an error, with fetches no longer sent or commits no longer made. The verdict is
a pure function; the thread around it does not need the event loop that it watches. While Kafka answers nobody, a worker
that waits for it is not hung: it has as long again from when that was last so.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

log = logging.getLogger(__name__)

EXIT_CODE = 70  # EX_SOFTWARE


class Vital(NamedTuple):
    """Signs of life of one partition."""

    position: int
    """Next offset to be handed to the application."""
    end: int
    """The log's end when last seen."""
    fetched: int
    """When the broker last answered a fetch, in any unit that grows."""
    unsaved: Hashable
    """What is declared safe and not committed; None when nothing is."""
    committed: Hashable = None
    """What is committed."""


class Standing(NamedTuple):
    """Since when each sign stood still, in seconds of the caller's clock."""

    vital: Vital
    reading: float
    saving: float


def observe(
    standing: Mapping[Hashable, Standing], vitals: Mapping[Hashable, Vital], now: float
) -> dict[Hashable, Standing]:
    """What stands still since when, after a new look; partitions that are not looked at any more are forgotten."""
    return {name: _compare(standing.get(name), vital, now) for name, vital in vitals.items()}


def _compare(before: Standing | None, vital: Vital, now: float) -> Standing:
    if before is None:
        return Standing(vital, now, now)
    old = before.vital
    caught_up = vital.position >= vital.end and vital.fetched != old.fetched
    reads = caught_up or vital.position != old.position
    saves = vital.unsaved is None or old.unsaved is None or vital.committed != old.committed
    return Standing(vital, now if reads else before.reading, now if saves else before.saving)


def stalled(standing: Mapping[Hashable, Standing], now: float, limit: float) -> str | None:
    """One line about the partition that has not moved for more than `limit` seconds, or None."""
    for name, (vital, reading, saving) in standing.items():
        if now - reading > limit:
            lag = max(vital.end - vital.position, 0)
            return f"partition={name} stands at offset={vital.position} lag={lag} for {now - reading:.0f} s"
        if now - saving > limit:
            return f"partition={name} has not been committed for {now - saving:.0f} s"
    return None


Look = Callable[[], Mapping[Hashable, Vital]]
Excuse = Callable[[], str | None]
"""Says why nothing can move; None: it could."""


def watch(look: Look, excuse: Excuse, limit: float, interval: float = 1.0) -> threading.Event:
    """Look every `interval` seconds from a thread, and exit the process on a stall for which there is no excuse.

    Set the event returned to end the watch.
    """
    done = threading.Event()
    arguments = look, excuse, limit, interval, done
    threading.Thread(target=_run, args=arguments, name="spanloom-watchdog", daemon=True).start()
    return done


def _run(look: Look, excuse: Excuse, limit: float, interval: float, done: threading.Event) -> None:
    standing: dict[Hashable, Standing] = {}
    while not done.wait(interval):
        now = time.monotonic()
        try:
            standing = observe(standing, look(), now)
        except Exception as error:  # it looks into another thread's state, in the middle of a rebalance perhaps
            log.debug("the watchdog could not look: %r", error)
        if (reason := stalled(standing, now, limit)) is not None and not done.is_set():
            if (excused := excuse()) is not None:
                log.warning("watchdog: %s; waiting: %s", reason, excused)
                standing = {}
                continue
            log.critical("watchdog: %s; exiting so that the supervisor starts afresh", reason)
            logging.shutdown()
            os._exit(EXIT_CODE)
