"""Local ports: taking them, and waiting for what listens on them."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_PAUSE = 0.05


class PortTaken(RuntimeError):
    """Something else listens on the port; one line, for people."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is taken")
        self.port = port


def claim(port: int) -> int:
    """Return `port` if nothing listens there, or any free port for 0. Raises PortTaken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(port) from error
        return int(probe.getsockname()[1])


def wait_kafka(bootstrap: str, timeout: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """True once a broker answers at `bootstrap`; False after `timeout` seconds, or when `alive()` says it never will."""
    host, _, port = bootstrap.rpartition(":")
    return _until(lambda: _listens(host, int(port)) and _has_brokers(bootstrap), timeout, alive)


def wait_http(url: str, timeout: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """True once GET `url` succeeds; False after `timeout` seconds, or when `alive()` says it never will."""
    return _until(lambda: _answers(url), timeout, alive)


def _until(ready: Callable[[], bool], timeout: float, alive: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + timeout
    while alive() and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(_PAUSE)
    return False


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _has_brokers(bootstrap: str) -> bool:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False
