"""OpenTelemetry's spans as ours: from an application's own SDK, and from any dialect.

`SpanloomSpanProcessor` and `SpanloomSpanExporter` need the extra `otel`; the mapping alone needs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanloom.otel.exporter import SpanloomSpanExporter, SpanloomSpanProcessor

__all__ = ["SpanloomSpanExporter", "SpanloomSpanProcessor"]


def __getattr__(name: str) -> object:
    if name in __all__:  # not sooner: the OTLP door maps spans without the SDK
        from spanloom.otel import exporter

        return getattr(exporter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
