"""Traces across processes: W3C Trace Context Level 2 in and out, and X-Request-ID beside it."""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TypeVar

from spanloom import process
from spanloom.span import Remote, current_span
from spanloom.trace import RANDOM, SAMPLED, Trace

Headers = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes | None]]
"""A mapping, or pairs as ASGI and Kafka have them; names in any case."""
M = TypeVar("M", bound=MutableMapping[str, str])

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_NAMES = ("traceparent", "tracestate", "x-request-id")
_MEMBERS = 32


def extract(headers: Headers) -> Remote | None:
    """Return the parent that `headers` name, for `span(..., parent=)`; None when there is none or it is not valid.

    Strict, as the standard says: two traceparents, upper case, zero ids or version ff are no traceparent. A valid
    X-Request-ID (1 to 128 printable ASCII characters) is taken along.
    """
    found: dict[str, list[str]] = {name: [] for name in _NAMES}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = _text(name).lower()
        if key in found:
            found[key].append(_text(value))
    ids = parse(found["traceparent"][0]) if len(found["traceparent"]) == 1 else None
    if ids is None:
        return None
    trace_id, parent_id, flags = ids
    request_id = request_id_of(found["x-request-id"])
    facts = {"request_id": request_id} if request_id else {}
    return Remote(
        Trace(trace_id, flags, tracestate(found["tracestate"]), {**process.facts(), **facts}), int(parent_id, 16)
    )


def inject(headers: M) -> M:
    """Put the current span's traceparent (with tracestate and X-Request-ID, where there are any) into `headers`; return
    them.
    """
    current = current_span()
    if current is not None:
        trace = current.trace
        headers["traceparent"] = format_traceparent(trace, current.id)
        if trace.state:
            headers["tracestate"] = trace.state
        if request_id := current.request_id:
            headers["x-request-id"] = request_id
    return headers


def parse(traceparent: str) -> tuple[str, str, int] | None:
    """Return trace id, parent id and the flags that are passed on, of a valid traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return trace_id, parent_id, int(flags, 16) & (SAMPLED | RANDOM)


def format_traceparent(trace: Trace, span_id: str) -> str:
    """Return the traceparent of a span."""
    return f"00-{trace.id}-{span_id}-{trace.flags:02x}"


def tracestate(values: Iterable[str]) -> str:
    """Return the combined tracestate to pass on; empty when it is not valid."""
    members = [member for value in values for part in value.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > _MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)


def request_id_of(values: list[str]) -> str | None:
    """Return the one valid request id among header values."""
    return values[0] if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]) else None


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else (value or b"").decode("latin-1")
