"""Named points at which a fault test can have the process killed: `SPANLOOM_FAULT=sink.after_insert:3`.

A real kill (SIGKILL to oneself) at the third time the point is reached: no handler runs, no buffer is flushed. With
seconds behind it, `sink.after_insert:3:20`, the thread that reaches the point sleeps there instead, event loop and all.
"""

import os
import signal
import threading
import time
from collections import Counter

_reached: Counter[str] = Counter()
_lock = threading.Lock()


def reach(point: str) -> None:
    """Say that `point` is reached; the process ends here if SPANLOOM_FAULT names it and this is its turn.

    SPANLOOM_FAULT is `point`, `point:nth` (from 1) or `point:nth:seconds`. Unset (always, outside tests) it costs one
    look-up.
    """
    wanted = os.environ.get("SPANLOOM_FAULT")
    if not wanted:
        return
    name, _, rest = wanted.partition(":")
    if name != point:
        return
    nth, _, seconds = rest.partition(":")
    with _lock:
        _reached[point] += 1
        turn = _reached[point] == int(nth or 1)
    if turn and seconds:
        time.sleep(float(seconds))
    elif turn:
        os.kill(os.getpid(), signal.SIGKILL)
