"""Children that cannot outlive their parent, whatever ends it.

`tethered(command)` wraps a command in an exec trampoline (this file, run as a program) rather than in a `preexec_fn`:
nothing of ours runs between fork and exec in a parent that has threads. Linux itself sends the signal (prctl
PR_SET_PDEATHSIG, kept across exec), so it holds for `kill -9` of the parent too, and it is SIGKILL, which nothing
ignores and all we run survives without loss. Linux watches the *thread* that started the child: start children from one
that lives as long as they should. On other systems a child is ended by its parent's clean stop only.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tethered(command: list[str]) -> list[str]:
    """The command that runs `command` tied to the process that starts it."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before prctl could tell
            os._exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
