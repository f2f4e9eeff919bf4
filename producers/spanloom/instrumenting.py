"""`spanloom.instrument()`: all that watches a process without its code being touched, turned on with one line."""

import logging
from collections.abc import Callable
from functools import partial

from spanloom.otel import instrumenting

_log = logging.getLogger("spanloom")


def instrument() -> tuple[str, ...]:
    """Watch what this process calls; return the names of what is watched.

    - The SDKs of OpenAI and Anthropic: each answer of a model, streamed or whole, is a span.
    - httpx and requests: their requests carry the current span on (`traceparent`, `x-request-id`).
    - Thread pools: what is submitted runs in the span that submits it.
    - Every installed instrumentation of OpenTelemetry (entry points `opentelemetry_instrumentor`); needs the extra
      `otel`. The application's TracerProvider is joined; where there is none, one is made, whose traces continue those
      of our own spans. A call that is traced twice counts once.

    Never raises: what cannot be watched is one line in the log. A second call turns on what was installed in between.
    """
    return (*(name for name, watch in _ours().items() if _watched(name, watch)), *instrumenting.turn_on())


def _ours() -> dict[str, Callable[[], None]]:
    from spanloom import outgoing, sdks, threads  # the host pays for them where it wants them

    return {
        **{f"spanloom.{name}": partial(sdks.watch, name) for name in sdks.SDKS},
        **{f"spanloom.{name}": partial(outgoing.watch, name) for name in outgoing.CLIENTS},
        "spanloom.threads": threads.watch,
    }


def _watched(name: str, watch: Callable[[], None]) -> bool:
    if instrumenting.is_off(name):
        return False
    try:
        watch()
    except ModuleNotFoundError:  # it is not installed
        return False
    except Exception as error:  # of foreign code
        _log.warning("%s cannot be watched: %s: %s", name, type(error).__name__, error)
        return False
    return True
