"""Settings of the sink."""

import socket
from typing import Annotated

import msgspec
from spanloom_schemas.settings import ClickHouseSettings, KafkaSettings

Days = Annotated[int, msgspec.Meta(ge=1, le=20_000)]


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Days that rows are kept; a change takes effect at the next `spanloom migrate` or start of the sink."""

    keep_spans_days: Days = 7
    keep_batches_days: Days = 90
    keep_traces_days: Days = 90
    keep_traces_1h_days: Days = 400
    keep_panes_days: Days = 90
    keep_late_1m_days: Days = 90
    keep_panes_1m_days: Days = 400
    keep_panes_1h_days: Days = 4000
    keep_alerts_days: Days = 400
    keep_samples_days: Days = 90
    keep_dead_letters_days: Days = 30

    def days(self) -> dict[str, int]:
        """Days by table."""
        return {
            name.removeprefix("keep_").removesuffix("_days"): getattr(self, name) for name in self.__struct_fields__
        }


class SinkSettings(KafkaSettings, frozen=True, kw_only=True):
    """What `spanloom sink` and `spanloom migrate` read from the environment."""

    clickhouse: ClickHouseSettings = ClickHouseSettings()
    retention: RetentionSettings = RetentionSettings()
    sink_group: str = "spanloom-sink"
    # Names this member of the group across restarts: two sinks at once must differ in it, or the older one is fenced.
    sink_instance: str = msgspec.field(default_factory=lambda: f"sink-{socket.gethostname()}")
    sink_linger_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 400
    sink_metrics_host: str = "127.0.0.1"
    sink_metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 9465
    prices_file: str = ""


class VerifySettings(KafkaSettings, frozen=True, kw_only=True):
    """What `spanloom verify` reads from the environment: where everything is, and whose progress to ask for."""

    clickhouse: ClickHouseSettings = ClickHouseSettings()
    sink_group: str = "spanloom-sink"
    processor_group: str = "spanloom-processors"  # as the processors have it (a test compares)
