"""The doors for an application's own OpenTelemetry SDK: its spans go through our buffer and sender to Kafka.

The processor takes a span at its end, in the application's thread, which only notes it; the sender translates. The
exporter does the same for what a processor of the SDK collected.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from opentelemetry.context import Context
from opentelemetry.sdk import resources
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, StatusCode

from spanloom import ids, process
from spanloom.buffer import Ended, Late, Shed
from spanloom.otel.leaving import Names
from spanloom.otel.mapping import About, translate
from spanloom.otel.received import Attributes, Received
from spanloom.otel.resource import resource
from spanloom.otel.shedding import shortened
from spanloom.secrecy import pseudonym
from spanloom.span import current_span

_KINDS = {kind: kind.name.lower() for kind in SpanKind}  # an enum's own names take their time
_STATUSES = {code: code.name.lower() for code in StatusCode}
_SIZE = 1024
"""Bytes of a span with nothing on it; OpenTelemetry's objects are larger than ours."""
_ENTRY = 128
_NOTE = 512
"""Bytes of an event or a link, beside its attributes."""


class Door:
    """Hands spans of the SDK to this process's producer, which it configures where nobody has."""

    def __init__(self) -> None:
        self._resource: object = None
        self._about = About(None, {}, {})
        self.closed = False
        if not process.configured():
            said = resource(resources.Resource.create().attributes)[0]._asdict()
            named = {name: said[name] for name in ("service", "environment", "version", "host") if said[name]}
            process.configure(
                **{name: value for name, value in named.items() if not os.environ.get(f"SPANLOOM_{name.upper()}")}
            )

    def take(self, span: ReadableSpan, above: int | None = None) -> None:
        """Take an ended span (`above`: the id of its parent, where the SDK knows of none), or count it as dropped."""
        ids.awake()
        if self.closed:
            process.life().buffer.refusals.shutdown.add()
        else:
            process.offer(_Late(self, span.resource, lambda: received(span, above)), _size(span))

    def translated(self, span: Received, of: resources.Resource) -> Ended:
        """Return a span of a resource as the sender takes it."""
        facts = process.facts()
        if of is not self._resource or facts is not self._about.facts:
            here, rest = resource(of.attributes)
            settings = process.life().settings
            names = Names() if settings is None else Names(settings.otel_texts)
            self._resource, self._about = of, About(here, rest, facts, names=names)
        return translate(span, self._about, process.life().calls, pseudonym)


class _Late:
    """A span of the SDK that the sender is to translate."""

    __slots__ = ("_door", "_read", "_resource")

    def __init__(self, door: Door, of: resources.Resource, read: Callable[[], Received]) -> None:
        self._door, self._resource, self._read = door, of, read

    def __call__(self) -> Ended:
        return self._door.translated(self._read(), self._resource)

    def lightened(self, size: int, events: bool, shed: Shed) -> tuple[Late, int]:
        span, taken, letters = shortened(self._read(), events)
        if not taken:
            return self, size
        if taken[0] != "events":
            shed.payloads.add()
        if taken[-1] == "events":
            shed.events.add()
        return _Late(self._door, self._resource, lambda: span), size - letters


class SpanloomSpanProcessor(SpanProcessor):
    """Publishes sampled spans as they end: `provider.add_span_processor(SpanloomSpanProcessor())`.

    A root span that begins within one of our own spans, and in its trace (`spanloom.instrument` sees to that), is a
    child of it.
    """

    def __init__(self) -> None:
        self._door = Door()
        self._above: dict[int, tuple[int, ref[Span]]] = {}
        """Of spans that have begun and not ended, by id; one that is forgotten without an end takes its entry along."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note which of our spans the span is in."""
        ours = current_span()
        if ours is not None and span.parent is None:
            context = span.get_span_context()
            if context is not None and ids.written(context.trace_id) == ours.trace_id:
                number, above = context.span_id, self._above
                above[number] = ours.number, ref(span, lambda _: above.pop(number, None))

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span for sending."""
        context = span.get_span_context()
        if context is not None:
            above = self._above.pop(context.span_id, None)
            if context.trace_flags.sampled:
                self._door.take(span, None if above is None else above[0])

    def shutdown(self) -> None:
        """Send what waits; spans that end later are dropped and counted."""
        self._door.closed = True
        process.flush(process.EXIT_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; say whether all arrived in time."""
        return process.flush(timeout_millis / 1000)


class SpanloomSpanExporter(SpanExporter):
    """Publishes spans that a processor of the SDK collected: `BatchSpanProcessor(SpanloomSpanExporter())`."""

    def __init__(self) -> None:
        self._door = Door()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans for sending. What becomes of them later is in the ledger."""
        for span in spans:
            self._door.take(span)
        return SpanExportResult.FAILURE if self._door.closed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Send what waits; what is exported later is dropped and counted."""
        self._door.closed = True
        process.flush(process.EXIT_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; say whether all arrived in time."""
        return process.flush(timeout_millis / 1000)


def received(span: ReadableSpan, above: int | None = None) -> Received:
    """Return a span of the SDK as the mapping takes it."""
    context, parent, scope = span.get_span_context(), span.parent, span.instrumentation_scope
    assert context is not None  # only a span that never began has none
    start = span.start_time or 0
    return Received(
        trace_id=ids.written(context.trace_id),
        span_id=context.span_id,
        parent=above if parent is None else parent.span_id,
        remote=parent is not None and parent.is_remote,
        name=span.name,
        kind=_KINDS[span.kind],
        start=start,
        end=span.end_time or start,
        status=_STATUSES[span.status.status_code],
        attributes=_attributes(span),
        events=[(event.name, event.timestamp, _attributes(event)) for event in span.events],
        links=[
            (ids.written(link.context.trace_id), f"{link.context.span_id:016x}", _attributes(link))
            for link in span.links
        ],
        scope=scope.name if scope is not None else "",
        cut=span.dropped_attributes + span.dropped_events + span.dropped_links,
    )


def _attributes(said: ReadableSpan | Event | Link) -> Attributes:
    return _copied(said.attributes) if said.attributes else {}


def _size(span: ReadableSpan) -> int:
    """Return about how many bytes a span holds."""
    notes: tuple[Event | Link, ...] = (*span.events, *span.links)
    size = _SIZE + _NOTE * len(notes)
    for attributes in (span.attributes, *[note.attributes for note in notes]):
        if attributes:
            for value in _copied(attributes).values():
                kind = type(value)
                if kind is str:
                    size += len(value)  # type: ignore[arg-type]
                elif kind is tuple:
                    size += 64 * len(value)  # type: ignore[arg-type]
            size += _ENTRY * len(attributes)
    return size


def _copied(attributes: Any) -> dict[str, object]:
    """Return a plain dict; the SDK's own copy takes a fifth of the time of `dict(...)`."""
    copy = getattr(attributes, "copy", None)
    found: dict[str, object] = dict(attributes) if copy is None else copy()
    return found
