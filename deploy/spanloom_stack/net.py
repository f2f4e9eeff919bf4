"""Local ports: taking them, and asking whether what should listen there answers."""

import socket
import time
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


def until(ready: Callable[[], bool], timeout: float) -> bool:
    """True once `ready()` is, asked some times a second; False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def kafka_answers(bootstrap: str) -> bool:
    """Whether a broker that knows its cluster answers at `bootstrap` (host:port)."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=5).brokers)
    except (OSError, KafkaException):
        return False


def http_answers(url: str) -> bool:
    """Whether GET `url` succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False
