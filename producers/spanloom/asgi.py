"""ASGI middleware: each HTTP request becomes a span of kind request, with its ids in and out."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from spanloom import entry, process
from spanloom.span import Span, enter, leave

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TraceMiddleware:
    """Wrap an ASGI application: `app.add_middleware(TraceMiddleware)`, or `TraceMiddleware(app)`.

    A request continues the trace of its `traceparent`, or begins one; it keeps its `X-Request-ID`, or is given one. The
    response carries both (`traceresponse`, `x-request-id`), so that a client can send feedback. The span is named by
    method and route, never by path; it ends with the last byte of the response, streamed or not. Events say when the
    response began; a status of 500 or more and an exception are errors; a client that leaves early is not.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is not HTTP is passed through, but the server's farewell is waited for."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, flushing(send))
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = begin(scope)
        token = enter(request)
        try:
            await self._app(scope, receive, stamping(request, scope, send))
        except BaseException as error:
            finish(request, scope, error)
            raise
        finally:
            leave(token)
            finish(request, scope)
        return None


def flushing(send: Send) -> Send:
    """Wrap the `send` of a lifespan: once the application has shut down, what it recorded is sent.

    A server that took SIGTERM for itself, as uvicorn does, dies of it afterwards, without `atexit`.
    """

    async def flushed(event: Event) -> None:
        if event["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            process.flush(process.EXIT_SECONDS)  # no request is left that could be kept waiting
        await send(event)

    return flushed


def begin(scope: Scope) -> Span:
    """Start the span of a request from its headers."""
    headers = scope["headers"]
    sent = [value.decode("latin-1") for name, value in headers if name.lower() == b"x-request-id"]
    return entry.begin(scope["method"], headers, sent)


def stamping(request: Span, scope: Scope, send: Send) -> Send:
    """Wrap `send`: put the ids on the response, note status and times, end the span with the last byte."""
    stamps = [(name.encode(), value.encode()) for name, value in entry.stamps(request)]

    async def stamped(event: Event) -> None:
        kind = event["type"]
        if kind == "http.response.start":
            names = {name.lower() for name, _ in event.get("headers", ())}
            missing = [(name, value) for name, value in stamps if name not in names]
            event = {**event, "headers": [*event.get("headers", ()), *missing]}
            entry.started(request, event["status"])
        await send(event)
        if kind == "http.response.body" and not event.get("more_body", False):
            finish(request, scope)

    return stamped


def finish(request: Span, scope: Scope, error: BaseException | None = None) -> None:
    """End the span, named by its route."""
    entry.routed(request, scope["method"], route_of(scope))
    request.close(error)


def route_of(scope: Scope) -> str | None:
    """Return the route's template (FastAPI), or the endpoint's name (Starlette and others); never the path, which is
    endless.
    """
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        return template
    endpoint = scope.get("endpoint")
    name = getattr(endpoint, "__name__", None)
    return name if isinstance(name, str) else None
