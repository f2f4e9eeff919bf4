"""All installed instrumentations of OpenTelemetry, turned on; its current span, as a parent of ours."""

import logging
import os
import sys
from typing import TYPE_CHECKING

from spanloom import ids, process
from spanloom.span import Nearby, Remote, current_span
from spanloom.trace import SAMPLED, Trace

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "opentelemetry_instrumentor"
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
"""OpenTelemetry's own variable: names of entry points that stay off, with commas between; * for all."""

_log = logging.getLogger("spanloom")
_joined: list[object] = []


def turn_on() -> tuple[str, ...]:
    """Turn on every installed instrumentation (entry points `opentelemetry_instrumentor`) and publish its spans.

    Return the names of what is on. Never raises: what cannot be turned on is one line in the log.
    """
    from importlib.metadata import entry_points  # takes longer to import than all of spanloom

    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    try:
        _join()
    except ImportError as error:
        if points:
            _log.error("instrumentations need OpenTelemetry's SDK (%s): pip install 'spanloom[otel]'", error)
        return ()
    return tuple(point.name for point in points if not is_off(point.name) and _turned_on(point))


def is_off(name: str) -> bool:
    """Say whether the host does not want what is called so."""
    off = {said.strip() for said in os.environ.get(DISABLED, "").split(",")}
    return not off.isdisjoint((name, "*"))


def theirs() -> Remote | None:
    """Return OpenTelemetry's current span, for a span of ours that has none of ours above it."""
    api = sys.modules.get("opentelemetry.trace")  # who has spans there has imported it
    context = None if api is None else api.get_current_span().get_span_context()
    if context is None or not context.is_valid:
        return None
    trace = Trace(ids.written(context.trace_id), int(context.trace_flags) & SAMPLED, "", process.facts())
    return (Remote if context.is_remote else Nearby)(trace, context.span_id)


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
