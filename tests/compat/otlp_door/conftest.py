"""A broker within a test's reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from spanloom import topics_command
from spanloom_schemas.settings import KafkaSettings
from spanloom_stack import kafka as kafka_stack
from spanloom_stack import services
from spanloom_stack.settings import StackSettings

from tests.faults.children import Children


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Children, str]]:
    service, bootstrap = services.broker(kafka_stack.install(StackSettings().cache), tmp_path / "kafka", port=0)
    with Children(tmp_path) as children:
        children.start(service)
        topics_command.apply(KafkaSettings(kafka_bootstrap=bootstrap))
        yield children, bootstrap
