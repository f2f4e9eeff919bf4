"""What `spanloom up` is told by its environment."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta
from spanloom_schemas.settings import Hosts, HttpUrl, KafkaSettings

Port = Annotated[int, Meta(ge=0, le=65535)]


class StackSettings(KafkaSettings, frozen=True, kw_only=True):
    """Settings of `spanloom up`, each read from SPANLOOM_<FIELD>."""

    kafka_bootstrap: Hosts = ""
    """A Kafka cluster to use; empty: the embedded broker."""
    clickhouse_url: HttpUrl = ""
    """A ClickHouse server to use; empty: the embedded engine."""
    kafka_port: Port = 9092
    """Where the embedded broker listens on 127.0.0.1; 0 takes a free port."""
    clickhouse_port: Port = 8123
    """Where the embedded engine listens on 127.0.0.1; 0 takes a free port."""
    stack_data: str = "~/.local/share/spanloom"
    """Folder that keeps the embedded broker's and engine's state, and all logs."""
    stack_cache: str = "~/.cache/spanloom"
    """Folder that keeps the broker's jars."""
    stack_processors: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of processor workers."""

    @property
    def data(self) -> Path:
        """`stack_data` as a path."""
        return Path(self.stack_data).expanduser()

    @property
    def cache(self) -> Path:
        """`stack_cache` as a path."""
        return Path(self.stack_cache).expanduser()
