"""Trace and span ids: random, never zero, never the same in two processes.

Ids come from a generator of our own, seeded by the operating system: the host may seed `random` as it likes.

A process has one *life* until it forks; a child lives anew, with a fresh seed. Python's own forks are told by a hook. A
fork made by C code (uWSGI) is told by the pid, which `awake` asks for; a system call, so it is asked for once a trace,
not once a span.
"""

import os
from random import Random

life: object = object()
_pid = os.getpid()
bits = Random(os.urandom(32)).getrandbits
"""Returns so many random bits. A span's id is 64 of them, written as 16 lower-case hexadecimal characters."""


def awake() -> None:
    """Begin a new life if this process is not the one that ran here last."""
    if os.getpid() != _pid:
        renew()


def renew() -> None:
    """Begin a new life: seed again."""
    global life, _pid, bits
    life, _pid, bits = object(), os.getpid(), Random(os.urandom(32)).getrandbits


def trace_id() -> str:
    """Return 32 lower-case hexadecimal characters; the right 7 bytes are random, as W3C Trace Context Level 2 asks."""
    return written(bits(128) or 1)


def written(trace: int) -> str:
    """Return the number of a trace as 32 lower-case hexadecimal characters."""
    return trace.to_bytes(16, "big").hex()  # formatting so large a number takes longer


def epoch() -> int:
    """Return a random positive long that names one life of one process."""
    return int.from_bytes(os.urandom(8), "big") >> 1
