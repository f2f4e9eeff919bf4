"""What a processor worker is told by its environment."""

from typing import Annotated

from msgspec import Meta
from spanloom_schemas.settings import HttpUrl, KafkaSettings, Secret

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]


class ProcessorSettings(KafkaSettings, frozen=True, kw_only=True):
    """Settings of `spanloom processor`, each read from SPANLOOM_<FIELD>."""

    processor_group: str = "spanloom-processors"
    """Consumer group; its workers share the partitions."""
    processor_member: str = ""
    """Static member id, unique in the group and kept over restarts; empty: a new member at each start."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9464
    """Where /metrics answers; 0 takes a free port, which the ready line names."""
    rules_file: str = ""
    """YAML of alert rules in place of the default ones."""
    prices_file: str = ""
    """Prices beside the book's."""
    watchdog_s: Seconds = 60.0
    """Exit when there is something to read and nothing moved for so long."""
    alertmanager_url: Secret = Secret("")
    """URLs with commas between; secret, for user name and password may be in them."""
    pagerduty_routing_key: Secret = Secret("")
    pagerduty_url: HttpUrl = ""
    """Where PagerDuty's Events API answers, of an account outside the US region."""
    webhook_url: Secret = Secret("")
    """Secret, for to know a webhook is to be allowed to use it."""
