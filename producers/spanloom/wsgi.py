"""WSGI middleware, for Flask, Django and their like: each request becomes a span of kind request, with its ids in and
out.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spanloom import entry
from spanloom.span import Span, enter, leave

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class TraceMiddleware:
    """Wrap a WSGI application: `app.wsgi_app = TraceMiddleware(app.wsgi_app)`, or `TraceMiddleware(app)`.

    As with ASGI, a request continues the trace of its `traceparent`, or begins one; it keeps its `X-Request-ID`, or is
    given one; the response carries both. The span is named by method and, where Flask has found one, route; it ends
    when the server has taken the last byte, or closes the response before. A status of 500 or more and an exception are
    errors; a client that leaves early is not.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        request = begin(environ)
        token = enter(request)
        try:
            body = self._app(environ, stamping(request, environ, start_response))
        except BaseException as error:
            request.close(error)
            raise
        finally:
            leave(token)
        if type(body) is environ.get("wsgi.file_wrapper"):  # the server sends it by itself, if it is given as it is
            request.end()
            return body
        return Body(body, request)


class Body:
    """A response, whose code runs in the span of its request; the span ends with it."""

    def __init__(self, body: Iterable[bytes], request: Span) -> None:
        self._body = body
        self._request = request
        self._parts = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = enter(self._request)
        try:
            return next(self._parts)
        except StopIteration:
            self._request.end()
            raise
        except BaseException as error:
            self._request.close(error)
            raise
        finally:
            leave(token)

    def close(self) -> None:
        """End the response, read to its end or not."""
        token = enter(self._request)
        try:
            if (close := getattr(self._body, "close", None)) is not None:
                close()
        finally:
            leave(token)
            self._request.end()


def begin(environ: Environ) -> Span:
    """Start the span of a request from its headers."""
    names = ("traceparent", "tracestate", "x-request-id")
    headers = [(name, said) for name in names if (said := environ.get(f"HTTP_{name.upper().replace('-', '_')}"))]
    sent = [said for name, said in headers if name == "x-request-id"]
    return entry.begin(environ["REQUEST_METHOD"], headers, sent)


def stamping(request: Span, environ: Environ, start_response: StartResponse) -> StartResponse:
    """Wrap `start_response`: put the ids on the response, note the route, the status and when it began."""

    def stamped(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        names = {name.lower() for name, _ in headers}
        missing = [(name, value) for name, value in entry.stamps(request) if name not in names]
        entry.routed(request, environ["REQUEST_METHOD"], route_of(environ))
        entry.started(request, int(status[:3]) if status[:3].isdecimal() else 0)
        return start_response(status, [*headers, *missing], *more)

    return stamped


def route_of(environ: Environ) -> str | None:
    """Return the template of the route that Flask has found; it forgets it before the response is sent."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    return rule if isinstance(rule, str) else None
