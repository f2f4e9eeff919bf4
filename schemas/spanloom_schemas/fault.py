"""Named points at which a fault test can have the process killed: `SPANLOOM_FAULT=sink.after_insert:3`.

A real kill (SIGKILL to oneself) at the third time the point is reached: no handler runs, no buffer is flushed.
"""

import os
import signal
import threading
from collections import Counter

_reached: Counter[str] = Counter()
_lock = threading.Lock()


def reach(point: str) -> None:
    """Say that `point` is reached; the process ends here if SPANLOOM_FAULT names it and this is its turn.

    SPANLOOM_FAULT is `point` or `point:nth`, nth from 1. Unset (always, outside tests) it costs one look-up.
    """
    wanted = os.environ.get("SPANLOOM_FAULT")
    if not wanted:
        return
    name, _, nth = wanted.partition(":")
    if name != point:
        return
    with _lock:
        _reached[point] += 1
        if _reached[point] == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
