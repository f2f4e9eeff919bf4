"""When a window may be judged: once every source partition has passed its end, or has been waited for long enough.

All of it is a function of the log. Waiting is measured in log time while messages kept coming: an hour in which nobody
wrote (the worker was down) is no waiting, so what is read up afterwards is still judged in its own time.
"""

from collections import deque

from spanloom_processors.core.alerts.rules import PANE_MS
from spanloom_processors.core.alerts.windows import HOUR_MS
from spanloom_processors.core.clock import LATENESS_MS

WAIT_MS = 30_000
"""How long a window waits for source partitions that have not passed its end; then its verdict is partial."""
HOUR_WAIT_MS = 600_000
"""How long an hour waits: budgets and baselines are built on it."""
SILENCE_MS = 2_000
"""Between two messages no more than this counts as waiting; there is a tick a second."""
AHEAD_MS = 60_000
"""By so much may a source partition's progress be ahead of the log's clock: of an idle one a worker's clock says it."""
BACKLOG_MS = 86_400_000
"""Window ends further in the past are skipped."""


class Progress:
    """The clock, what the source partitions have passed, and which window ends are due."""

    def __init__(self, judged: int, log_time: int) -> None:
        self.clock = log_time
        self.judged = max(judged, log_time // PANE_MS * PANE_MS)
        """Every window that ends by it has been judged."""
        self._waited = 0
        self._partitions = 0
        self._passed: dict[int, int] = {}
        self._ends: deque[tuple[int, int]] = deque()  # window ends that the clock has passed, with _waited then
        self._next_end = self.judged + PANE_MS
        self._hour = 0, 0  # the end of an hour that the clock has passed, with _waited then

    def tick(self, log_time: int) -> None:
        """Read a message's log time."""
        if log_time > self.clock:
            self._waited += min(log_time - self.clock, SILENCE_MS)
            self.clock = log_time
        oldest = self.clock // PANE_MS * PANE_MS - BACKLOG_MS
        if self.judged < oldest:
            self.done(oldest)
            self._next_end = max(self._next_end, oldest + PANE_MS)
        while self._next_end <= self.clock:
            self._ends.append((self._next_end, self._waited))
            self._next_end += PANE_MS

    def source(self, partition: int, partitions: int, progress: int) -> None:
        """Read how far a source partition is, and of how many."""
        self._partitions = partitions
        self._passed[partition] = max(min(progress, self.clock + AHEAD_MS), self._passed.get(partition, 0))

    def due(self) -> tuple[int, bool] | None:
        """The next window end to judge, and whether partially; None: not yet."""
        end = self.judged + PANE_MS
        if self._all_passed(end):
            return end, False
        if self._ends and self._ends[0][0] == end and self._waited - self._ends[0][1] >= WAIT_MS:
            return end, True
        return None

    def done(self, end: int) -> None:
        """Note that windows that end by `end` are judged."""
        self.judged = end
        while self._ends and self._ends[0][0] <= end:
            self._ends.popleft()

    def oldest_to_come(self) -> int:
        """No pane that starts before this is to come, unless its partition was waited for longer than hours are."""
        passed = [self._passed.get(partition, 0) for partition in range(self._partitions)]
        return max(min([self.judged, *passed]), self.judged - HOUR_WAIT_MS) - PANE_MS - LATENESS_MS

    def hours_until(self, oldest: int | None) -> int:
        """The end of the last hour that may be closed; `oldest`: the start of the first open one.

        Not before the clock has passed it: late rows that come until then count in it, whatever a worker's clock says.
        """
        if oldest is None or oldest + HOUR_MS > self.clock:
            return 0
        end = oldest + HOUR_MS
        if self._all_passed(end):
            return end
        if self._hour[0] != end:
            self._hour = end, self._waited
        return end if self._waited - self._hour[1] >= HOUR_WAIT_MS else 0

    def _all_passed(self, end: int) -> bool:
        return self._partitions > 0 and all(
            self._passed.get(partition, 0) >= end + LATENESS_MS for partition in range(self._partitions)
        )
