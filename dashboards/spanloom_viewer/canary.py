"""`spanloom canary`: a smoke trace through the real producer, and how long it takes to be readable."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from spanloom_traces import TraceStore

SERVICE = "spanloom-canary"
SPANS = 2
PAUSE = 0.1
"""Seconds between questions to ClickHouse."""
CLOSING = 2.0
"""Seconds for the last word to the ledger."""


class Seen(NamedTuple):
    """Spans of the trace that are in `spans`, and of which `trace_summaries` knows."""

    stored: int
    assembled: int


class Flight(NamedTuple):
    """After how many seconds the trace got how far (None: it did not), and what was in the way last."""

    acknowledged: float | None = None
    stored: float | None = None
    assembled: float | None = None
    trouble: str = ""


@click.command()
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Seconds to wait, all in all."
)
def canary(timeout: float) -> None:
    """Send a small trace as services do, and wait until it can be read: after a deploy, or every minute as an SLI.

    Prints seconds since the trace ended: until Kafka acknowledged it, until it was in `spans`, and until it was
    assembled in `trace_summaries`. Ends with 1, and one line that says how far it came, where the time is up. It needs
    the settings of Kafka and ClickHouse; its traces are of the service spanloom-canary.
    """
    from rich.console import Console
    from spanloom.settings import ProducerSettings
    from spanloom_schemas import settings as environment
    from spanloom_traces import TraceStore

    from spanloom_viewer.settings import ViewerSettings

    producer, reader = environment.read(ProducerSettings), environment.read(ViewerSettings)
    producer.ssl_context()  # a certificate file that cannot be used is said now, by its variable
    if producer.disabled:
        raise click.ClickException("SPANLOOM_DISABLED is set, so nothing is sent: unset it for the canary")
    with Console(stderr=True).status("waiting until the canary is readable …"), TraceStore(reader) as store:
        trace_id, flight = fly(store, timeout)
    if flight.assembled is None:
        raise click.ClickException(f"the canary {trace_id} is not readable after {timeout:g} s: {how_far(flight)}")
    click.echo(f"trace         {trace_id}")
    for stage in ("acknowledged", "stored", "assembled"):
        click.echo(f"{stage:13} {getattr(flight, stage):.3f} s")


def fly(store: "TraceStore", timeout: float) -> tuple[str, Flight]:
    """Send the trace and follow it; return its id and how it went. At most `timeout` seconds, and `CLOSING` more."""
    import spanloom

    with _heard() as heard:
        spanloom.configure(service=SERVICE)
        try:
            with spanloom.span("canary", event_type="request") as root, spanloom.span("canary step"):
                pass
            begun = monotonic()
            if not spanloom.flush(timeout):
                return root.trace_id, Flight(trouble=_lost(spanloom.dropped(), heard))
            flight = Flight(acknowledged=monotonic() - begun)
            return root.trace_id, follow(lambda: seen(store, root.trace_id), flight, begun, begun + timeout)
        finally:
            spanloom.shutdown(CLOSING)


def follow(
    look: Callable[[], Seen],
    flight: Flight,
    begun: float,
    until: float,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] = sleep,
) -> Flight:
    """Look until the trace is stored and assembled, or until `until`; return how far it came."""
    from spanloom_traces import StoreError

    while True:
        try:
            found = look()
        except StoreError as error:
            flight = flight._replace(trouble=str(error))
        else:
            now = clock() - begun
            flight = flight._replace(
                stored=now if flight.stored is None and found.stored == SPANS else flight.stored,
                assembled=now if flight.assembled is None and found.assembled == SPANS else flight.assembled,
                trouble="",
            )
        if (flight.stored is not None and flight.assembled is not None) or clock() >= until:
            return flight
        pause(PAUSE)


def seen(store: "TraceStore", trace_id: str) -> Seen:
    """Return what is there of the trace. Raises StoreError where nobody can say."""
    from spanloom_traces import NotThere

    try:
        found = store.get_trace(trace_id)
    except NotThere:
        return Seen(0, 0)
    return Seen(len(found.tree), found.summary.spans if found.summary else 0)


def how_far(flight: Flight) -> str:
    """Say in a line how far a trace came that is not readable, and where to look."""
    if flight.acknowledged is None:
        return f"Kafka has not acknowledged it{flight.trouble and f' ({flight.trouble})'}"
    came = f"Kafka acknowledged it after {flight.acknowledged:.3f} s"
    if flight.trouble:
        return f"{came}, but {flight.trouble}"
    if flight.stored is None and flight.assembled is None:
        return f"{came}, but it is neither in spans nor assembled: look at the sink's log"
    if flight.stored is None:
        return f"{came} and it is assembled, but it is not in spans: look at the sink's log"
    return f"{came}, it was in spans after {flight.stored:.3f} s, but is not assembled: look at the processors' log"


def _lost(dropped: dict[str, int], heard: list[str]) -> str:
    drops = ", ".join(f"{spans} spans dropped: {reason}" for reason, spans in dropped.items())
    return "; ".join(part for part in (heard[-1] if heard else "", drops) if part)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Give what the producer logs meanwhile, which then is not printed: it becomes part of the one line."""
    lines: list[str] = []
    ours = logging.getLogger("spanloom")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = ours.propagate
    ours.addHandler(handler)
    ours.propagate = False
    try:
        yield lines
    finally:
        ours.propagate = before
        ours.removeHandler(handler)
