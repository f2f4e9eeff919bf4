"""The services of the embedded stack as `supervise` runs them."""

import re
import sys
from pathlib import Path

from spanloom_stack import kafka, net
from spanloom_stack.supervise import Service

_READY = re.compile(r"^ready\b", re.MULTILINE)


def broker(installation: kafka.Installation, data: Path, port: int) -> tuple[Service, str]:
    """The Kafka broker, and its `host:port`. Raises what `kafka.prepare` raises."""
    properties = kafka.prepare(installation, data, port)
    bootstrap = kafka.bootstrap(properties)
    command = kafka.command(installation, properties)
    return Service("kafka", command, lambda log: net.kafka_answers(bootstrap)), bootstrap


def engine(data: Path, port: int) -> tuple[Service, str]:
    """The ClickHouse engine behind HTTP, and its URL. Raises `net.PortTaken`."""
    port = net.claim(port)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "spanloom_stack.clickhouse", "--data", str(data), "--port", str(port)]
    return Service("clickhouse", command, lambda log: net.http_answers(f"{url}/ping")), url


def spanloom(name: str, *arguments: str, **environment: str) -> Service:
    """A subcommand of `spanloom` that says `ready …` once it works."""
    command = [sys.executable, "-c", "from spanloom.cli import main; main()", *arguments]
    return Service(name, command, lambda log: _READY.search(log) is not None, environment)
