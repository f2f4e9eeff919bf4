"""The two systems integration tests run on: the embedded stack, or containers where SPANLOOM_TEST_BACKEND=docker.

Both are started once, when the first test asks, with their state in a temporary folder.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from spanloom_stack import kafka as kafka_stack
from spanloom_stack import services
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

# A slow machine fails nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_DOCKER = os.environ.get("SPANLOOM_TEST_BACKEND") == "docker"
_BUDGET_SECONDS = 600
"""What `make test` may take on two cores."""
_BEGUN = time.monotonic()
_LONGEST = (
    *("tests/faults/test_faults.py", "tests/sinks/verify/test_verify.py", "tests/sim/test_simulation.py"),
    *("tests/sinks/test_exactly_once.py", "tests/sinks/test_unreadable.py", "tests/deploy/test_encrypted.py"),
    *("tests/processors/test_processor_process.py", "tests/processors/test_registry_line.py"),
)
"""Files that take longest, which are begun first, so that no core is idle at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On containers, mark the tests that need them: `SPANLOOM_TEST_BACKEND=docker pytest -m docker` runs just those."""
    order = {file: place for place, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))
    for item in items:
        if _DOCKER and {"kafka", "clickhouse"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("docker")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what of the budget was spent, and by whom. A slow machine fails nothing: a person decides what has to go."""
    spent: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent[str(Path(report.nodeid.partition("::")[0]).parent)] += report.duration  # type: ignore[assignment]
    took = time.monotonic() - _BEGUN
    folders = ", ".join(f"{folder} {seconds:.0f} s" for folder, seconds in spent.most_common(5) if seconds >= 1)
    over = took > _BUDGET_SECONDS
    terminalreporter.write_line(
        f"{took:.0f} s of the {_BUDGET_SECONDS} s that all tests may take{': TOO SLOW' if over else ''} ({folders})",
        yellow=over,
    )


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real Kafka broker."""
    yield from start_kafka(tmp_path_factory.mktemp("kafka"))


def start_kafka(folder: Path) -> Iterator[str]:
    """Start a broker with its state in `folder`, give its `host:port`, and end it."""
    yield from (_kafka_container if _DOCKER else _embedded_kafka)(folder)


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`http://host:port` of a real ClickHouse engine; the user `default` has no password."""
    start = _clickhouse_container if _DOCKER else _embedded_clickhouse
    yield from start(tmp_path_factory.mktemp("clickhouse"))


def _embedded_kafka(folder: Path) -> Iterator[str]:
    service, bootstrap = services.broker(kafka_stack.install(StackSettings().cache), folder / "data", port=0)
    with Supervisor(folder) as supervisor:
        supervisor.start(service)
        yield bootstrap


def _embedded_clickhouse(folder: Path) -> Iterator[str]:
    service, url = services.engine(folder / "data", port=0)
    with Supervisor(folder) as supervisor:
        supervisor.start(service)
        yield url


def _kafka_container(_: Path) -> Iterator[str]:
    _need_docker()
    from testcontainers.community.kafka import KafkaContainer

    with (
        KafkaContainer("confluentinc/cp-kafka:8.1.0")
        .with_kraft()
        .with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false") as broker
    ):
        yield broker.get_bootstrap_server()


def _clickhouse_container(_: Path) -> Iterator[str]:
    _need_docker()
    from testcontainers.community.clickhouse import ClickHouseContainer

    server = ClickHouseContainer(
        "clickhouse/clickhouse-server:26.9.6.6", username="default", password="", dbname="default"
    )
    with server.with_env("CLICKHOUSE_SKIP_USER_SETUP", "1") as started:
        yield f"http://{started.get_container_host_ip()}:{started.get_exposed_port(8123)}"


def _need_docker() -> None:
    docker = pytest.importorskip("docker")
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"SPANLOOM_TEST_BACKEND=docker, but no Docker daemon answers: {error}")
