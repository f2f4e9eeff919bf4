"""OTLP over HTTP to a backend: what it asks for again is sent again, what it refuses is said."""

import gzip
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from itertools import islice
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from spanloom_viewer.outbound.otlp import Row, request

SPANS = 500
"""In one request."""
TRIES = 6
TIMEOUT_SECONDS = 30
LONGEST_PAUSE_SECONDS = 30.0
_ANSWER_BYTES = 4 * 1024 * 1024
_AGAIN = frozenset({429, 502, 503, 504})


class _Here(HTTPRedirectHandler):
    """Follows nothing: a POST that is led elsewhere arrives there as a GET, without its spans."""

    def redirect_request(self, *_: object) -> None:
        """Say so."""


_OPENER = build_opener(_Here)


class RefusedError(Exception):
    """The backend does not take it; the message is one line that says why."""


class Sent(NamedTuple):
    """What became of an export."""

    spans: int
    rejected: int
    why: str
    """What the backend said of those that it rejected."""


def traces_url(url: str) -> str:
    """Return where to post: a URL without a path is a base, as in OTEL_EXPORTER_OTLP_ENDPOINT."""
    parts = urlsplit(url)
    path = parts.path if parts.path.strip("/") else "/v1/traces"
    return urlunsplit(parts._replace(path=path))


def send(
    rows: Iterable[Row], url: str, headers: Mapping[str, str], sleep: Callable[[float], object] = time.sleep
) -> Sent:
    """Send all rows. Raises RefusedError at the first request that is not taken, with what was sent before it."""
    sent = rejected = 0
    why = ""
    for some in _requests(rows):
        try:
            answer = _post(json.dumps(request(some)).encode(), traces_url(url), headers, sleep)
        except RefusedError as error:
            raise RefusedError(f"{error}; {sent} spans were sent before") from None
        partial = answer.get("partialSuccess") or {}
        sent += len(some)
        rejected += int(partial.get("rejectedSpans") or 0)
        why = str(partial.get("errorMessage") or why)
    return Sent(sent, rejected, why)


def _requests(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while some := list(islice(left, SPANS)):
        yield some


def _post(body: bytes, url: str, headers: Mapping[str, str], sleep: Callable[[float], object]) -> dict[str, Any]:
    asked = Request(
        url, gzip.compress(body, 6), {"Content-Type": "application/json", "Content-Encoding": "gzip", **headers}
    )
    for attempt in range(TRIES):
        pause = min(LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt)
        try:
            with _OPENER.open(asked, timeout=TIMEOUT_SECONDS) as answer:
                said = answer.read(_ANSWER_BYTES)
            if answer.headers.get_content_type() == "text/html":
                raise RefusedError(f"{url} answers with a page for people: it takes no OTLP there")
            return _read(said)
        except HTTPError as error:
            if where := error.headers.get("Location"):
                raise RefusedError(f"{url} answers {error.code}: it is at {where[:200]!r}") from None
            why = f"{url} answers {error.code}{_reason(error)}"
            if error.code not in _AGAIN:
                raise RefusedError(why) from None
            pause = _asked_for(error.headers.get("Retry-After"), pause)
        except (URLError, HTTPException, OSError) as error:
            why = f"{url} does not answer: {getattr(error, 'reason', None) or error}"
        if attempt + 1 < TRIES:
            sleep(pause)
    raise RefusedError(f"{why}, {TRIES} times")


def _read(said: bytes) -> dict[str, Any]:
    try:
        found = json.loads(said or b"{}")
    except ValueError:
        return {}  # it took the spans, in words of its own
    return found if isinstance(found, dict) else {}


def _reason(error: HTTPError) -> str:
    said = _read(error.read(10_000)).get("message")
    return f" ({' '.join(str(said).split())[:200]})" if said else ""


def _asked_for(after: str | None, otherwise: float) -> float:
    """Return the seconds of a Retry-After, which is a number or a date."""
    if not after:
        return otherwise
    if after.isascii() and after.isdigit():
        return min(LONGEST_PAUSE_SECONDS, float(after))
    try:
        at = parsedate_to_datetime(after).timestamp()
    except (ValueError, OverflowError):
        return otherwise
    return min(LONGEST_PAUSE_SECONDS, max(0.0, at - time.time()))
