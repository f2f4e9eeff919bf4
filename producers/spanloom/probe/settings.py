"""What the probe can be told by the environment."""

from typing import Annotated

import msgspec
from spanloom_schemas.settings import KafkaSettings


class ProbeSettings(KafkaSettings, frozen=True, kw_only=True):
    """Settings of `spanloom probe`."""

    environment: str = "default"
    host: str = ""
    """Empty: the host's own name."""
    probe_metrics_host: str = "127.0.0.1"
    probe_metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 9466
