"""What is said to a host that misuses the producer: once a process, and the host is not disturbed."""

import logging

_log = logging.getLogger("spanloom")
_complained: set[str] = set()


def complain(problem: str, detail: str) -> None:
    """Log a problem, the first time it is met."""
    if problem not in _complained:
        _complained.add(problem)
        _log.warning("%s (%s)", problem, detail)
