"""What the OTLP door can be told by the environment."""

from typing import Annotated

import msgspec

from spanloom.settings import ProducerSettings

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class GatewaySettings(ProducerSettings, frozen=True, kw_only=True):
    """Settings of `spanloom gateway`; those of the producer hold for the gateway's own ledger."""

    service: str = "gateway"
    buffer_bytes: Annotated[int, msgspec.Meta(ge=65536)] = 64 * 1024 * 1024
    gateway_host: str = "127.0.0.1"
    """Where to listen; beyond this machine only with keys."""
    gateway_port: Port = 4318
    """Of OTLP over HTTP; 0: any free one."""
    gateway_grpc_port: Port = 4317
    """Of OTLP over gRPC; 0: any free one."""
    gateway_cert_file: str = ""
    """PEM: the certificate of both doors, with what leads to its authority. Empty: they speak plaintext."""
    gateway_key_file: str = ""
    """PEM: its key, without a passphrase."""
    gateway_metrics_host: str = "127.0.0.1"
    gateway_metrics_port: Port = 9467
    """Of /metrics; 0: any free one."""
    gateway_keys_file: str = ""
    """YAML: a list of keys with tenant and limit. Empty: everybody on this machine, and no tenant."""
    gateway_request_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 16 * 1024 * 1024
    """The largest request, decompressed."""
    gateway_wait_seconds: Annotated[float, msgspec.Meta(gt=0)] = 8.0
    """How long Kafka's word is waited for; exporters give up after ten seconds."""
    gateway_collector_topic: str = ""
    """Topic of a Collector's Kafka exporter (otlp_spans) that is to be read too; empty: none."""
