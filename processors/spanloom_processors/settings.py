"""What a processor worker is told by its environment."""

from spanloom_schemas.settings import KafkaSettings, Secret


class ProcessorSettings(KafkaSettings, frozen=True, kw_only=True):
    """Settings of `spanloom processor`, each read from SPANLOOM_<FIELD>."""

    group: str = "spanloom-processors"
    """Consumer group; workers of one group share the partitions."""
    worker: str = ""
    """Static member id, unique in the group and kept over restarts; empty: a new member each start."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    rules_file: str = ""
    """YAML of alert rules in place of the default ones."""
    prices_file: str = ""
    """YAML of prices beside the book's."""
    watchdog_s: float = 60.0
    """Exit when there is something to read and nothing advanced for so long."""
    alertmanager_url: str = ""
    pagerduty_routing_key: Secret = Secret("")
    webhook_url: str = ""
    webhook_token: Secret = Secret("")
