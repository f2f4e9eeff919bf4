"""HTTP clients that carry the current span on: httpx, requests, and httpx's successor, with no hook of the host's.

What a request has already is left alone: the host's own headers, and those of an OpenTelemetry instrumentation.
"""

from functools import partial, wraps
from importlib import import_module
from typing import Any

from spanloom.patching import Method, harmless, replace
from spanloom.propagation import inject

CLIENTS = {
    "httpx": ("Client", "AsyncClient"),
    "httpx2": ("Client", "AsyncClient"),
    "requests": ("Session",),
}
"""Module → classes whose `send` takes a request with headers."""


def watch(name: str) -> None:
    """Have the clients of that module carry spans from now on. Raises whatever its import does."""
    library = import_module(name)
    for client in CLIENTS[name]:
        replace(getattr(library, client), "send", _carrying)


def _carrying(method: Method) -> Method:
    @wraps(method)
    def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        harmless(partial(_stamp, request.headers))
        return method(client, request, *args, **kwargs)

    return send


def _stamp(headers: Any) -> None:
    carried: dict[str, str] = inject({})
    if "traceparent" in headers:  # whoever put it there knows where the request belongs
        carried.pop("traceparent", None)
        carried.pop("tracestate", None)
    for name, value in carried.items():
        if name not in headers:
            headers[name] = value
