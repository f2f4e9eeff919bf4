"""A request that this service serves, as a span: what ASGI and WSGI have in common."""

from spanloom import ids
from spanloom.propagation import Headers, extract, format_traceparent, request_id_of
from spanloom.span import Span, span


def begin(method: str, headers: Headers, request_ids: list[str]) -> Span:
    """Start the span of a request: in the trace of its `traceparent`, or a new one; with its X-Request-ID, or one of
    ours.
    """
    made = span(method, event_type="request", parent=extract(headers))
    if made.request_id is None:
        made.set_context(request_id=request_id_of(request_ids) or ids.trace_id())
    made.set_attribute("http.request.method", method)
    return made


def stamps(request: Span) -> list[tuple[str, str]]:
    """Return the headers that tell a client the ids."""
    return [
        ("x-request-id", request.request_id or ""),
        ("traceresponse", format_traceparent(request.trace, request.id)),
    ]


def started(request: Span, status: int) -> None:
    """Note that the response begins."""
    request.add_event("response.start")
    request.set_attribute("http.response.status_code", status)
    if status >= 500:
        request.record_error(str(status))


def routed(request: Span, method: str, route: str | None) -> None:
    """Name the span by what routing has found: a template, never the path, which is endless."""
    if route and not request.ended:
        request.name = f"{method} {route}"
        request.set_attribute("http.route", route)
