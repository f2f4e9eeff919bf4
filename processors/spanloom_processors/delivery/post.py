"""One POST of JSON: done, worth trying again, or refused for good. Errors name no URL: it may hold a secret."""

import logging
from typing import Any

import aiohttp
import msgspec

TIMEOUT = aiohttp.ClientTimeout(total=10)
PATIENCE_S = 60.0
"""How long to stay away after 429 without Retry-After."""
_BAD_PAYLOAD = (400, 413, 422)
log = logging.getLogger(__name__)


class Retry(Exception):
    """The target did not take it now; `after`: seconds to wait first, None: the caller's backoff."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(Exception):
    """The target will never take it as it is."""


async def post(session: aiohttp.ClientSession, target: str, url: str, body: Any) -> None:
    """Send `body` as JSON; raise Retry or Refused unless the target answers 2xx. A redirect is not followed."""
    try:
        answer = session.post(url, data=encode(body), headers=_HEADERS, allow_redirects=False, timeout=TIMEOUT)
        async with answer as response:
            if 200 <= response.status < 300:
                return
            said = (await response.content.read(300)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Retry(f"{target}: {type(error).__name__}") from None
    if response.status in _BAD_PAYLOAD:
        raise Refused(f"{target} answered {response.status}: {' '.join(said.split())}")
    raise Retry(f"{target} answered {response.status}", _after(response))


def encode(body: Any) -> bytes:
    """The bytes of a body."""
    return msgspec.json.encode(body)


_HEADERS = {"Content-Type": "application/json", "User-Agent": "spanloom"}


def _after(response: aiohttp.ClientResponse) -> float | None:
    given = response.headers.get("Retry-After", "")
    if given.isdigit():
        return min(float(given), 600.0)
    return PATIENCE_S if response.status == 429 else None
