"""What the log says of a target that does not take alerts: its first failure, and that it takes them again.

Deliveries are tried again for ever, many times a minute; a line each would bury the one that a person must read.
"""

import logging

from spanloom_processors.delivery.post import Retry

log = logging.getLogger(__name__)

QUIET_S = 60.0
"""A target that fails, and does not, in turn is said to fail by the same cause no more often than so."""


class Streak:
    """Failures of a target since it took alerts last. Times are seconds of a clock that nobody sets."""

    def __init__(self, target: str, setting: str) -> None:
        self._target, self._setting = target, setting
        self._tries = 0
        self._causes: set[str] = set()
        self._said_at: dict[str, float] = {}

    def failed(self, error: Retry, now: float) -> None:
        """It did not take them: the first time, and when the cause is another, say so and what to do."""
        self._tries += 1
        cause = str(error)
        if cause in self._causes or now < self._said_at.get(cause, now - QUIET_S) + QUIET_S:
            return
        self._causes.add(cause)
        self._said_at[cause] = now
        if error.advice:
            log.error("%s: %s (%s); its alerts are kept, and tried again", cause, error.advice, self._setting)
        else:
            log.warning("%s: its alerts are kept, and tried again; if it lasts, check %s", cause, self._setting)

    def over(self) -> None:
        """It took them."""
        if self._causes:
            log.warning("%s takes alerts again, after %d that failed", self._target, self._tries)
        self._causes.clear()
        self._tries = 0
