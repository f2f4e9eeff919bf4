"""A fixture of pytest: `pytest_plugins = ["spanloom.testing.fixtures"]` in the `conftest.py` on top."""

from collections.abc import Iterator

import pytest

from spanloom.testing import Clock, Recorded, recording


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Spans that a test makes. Ids are 1, 2, 3 …, and time stands still until `recorded.clock` is advanced."""
    with recording(clock=Clock(), numbered=True) as made:
        yield made
