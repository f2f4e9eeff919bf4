"""`spanloom.instrument()`: all installed instrumentations of OpenTelemetry, turned on with one line."""

import logging
import os
from typing import TYPE_CHECKING

from spanloom.span import current_span

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "opentelemetry_instrumentor"
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
"""OpenTelemetry's own variable: names of entry points that stay off, with commas between; * for all."""

_log = logging.getLogger("spanloom")
_joined: list[object] = []


def instrument() -> tuple[str, ...]:
    """Turn on every installed instrumentation (entry points `opentelemetry_instrumentor`) and publish its spans.

    The application's TracerProvider is joined; where there is none, one is made, whose traces continue those of our own
    spans. Return the names of what was turned on. Never raises: what cannot be turned on is one line in the log. A
    second call turns on what was installed in between.
    """
    from importlib.metadata import entry_points  # takes longer to import than all of spanloom

    try:
        _join()
    except ImportError as error:
        _log.error("instrument() needs OpenTelemetry's SDK (%s): pip install 'spanloom[otel]'", error)
        return ()
    off = {name.strip() for name in os.environ.get(DISABLED, "").split(",")}
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(point.name for point in points if not off & {point.name, "*"} and _turned_on(point))


def _turned_on(point: "EntryPoint") -> bool:
    try:
        made = point.load()()
        if not getattr(made, "is_instrumented_by_opentelemetry", False):
            made.instrument()
        return bool(getattr(made, "is_instrumented_by_opentelemetry", True))
    except Exception as error:  # of foreign code
        _log.warning("the instrumentation %s cannot be turned on: %s: %s", point.name, type(error).__name__, error)
        return False


def _join() -> None:
    """Add our processor to the global TracerProvider, once."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    from spanloom.otel.exporter import SpanloomSpanProcessor

    class Joining(RandomIdGenerator):
        """Ids of root spans: within one of our spans, its trace's."""

        def generate_trace_id(self) -> int:
            ours = current_span()
            return super().generate_trace_id() if ours is None else int(ours.trace_id, 16)

    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        trace.set_tracer_provider(TracerProvider(id_generator=Joining()))
        provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider) and provider not in _joined:
        provider.add_span_processor(SpanloomSpanProcessor())
        _joined.append(provider)
