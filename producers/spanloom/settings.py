"""What a producer can be told by the environment."""

from typing import Annotated

import msgspec
from spanloom_schemas.settings import KafkaSettings, Secret


class ProducerSettings(KafkaSettings, frozen=True, kw_only=True):
    """Settings of the producer that a service embeds; `configure(...)` overrides what the environment says."""

    service: str = ""
    """Name of the service; empty: the name of the process."""
    environment: str = "default"
    version: str = ""
    """Of the service."""
    host: str = ""
    """Empty: the host's own name."""
    tenant: str = ""
    """Of every span that names none of its own."""
    user_pepper: Secret = Secret("")
    """Key of the hashes of users and texts, optionally with its id in front: `k2:…`."""
    buffer_bytes: Annotated[int, msgspec.Meta(ge=65536)] = 16 * 1024 * 1024
    """How much may wait to be sent; what finds no room is dropped and counted."""
    payloads: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """Share of traces whose inputs, outputs and log messages are sent, sanitized; needs the extra `payloads`."""
    attributes: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Share of traces whose attributes under names of the host's own are sent; fields are never sampled."""
    otel_texts: str = "app."
    """Names, and beginnings of names that end in a dot, between commas: attributes of OpenTelemetry's spans whose texts
    are sent as they are."""
    disabled: bool = False
    """Make no connection; spans are counted and dropped."""
