"""A span as OpenTelemetry has it, wherever it came from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Attributes = Mapping[str, object]
"""Texts, numbers, booleans, bytes, lists and mappings of these."""
Event = tuple[str, int, Attributes]
"""Name, epoch nanoseconds, attributes."""


class Received(NamedTuple):
    """One ended span, its values as they came."""

    trace_id: str
    """32 lower-case hexadecimal characters."""
    span_id: int
    parent: int | None
    remote: bool
    """The parent lives in another process."""
    name: str
    kind: str
    """OpenTelemetry's SpanKind, in lower case."""
    start: int
    """Epoch nanoseconds, as is `end`."""
    end: int
    status: str
    """unset, ok or error."""
    attributes: Attributes
    events: Sequence[Event] = ()
    links: Sequence[tuple[str, str, Attributes]] = ()
    """Trace id, span id, attributes."""
    scope: str = ""
    """Name of the instrumentation."""
    cut: int = 0
    """Attributes, events and links that were left out before."""
