"""One POST of JSON: done, worth trying again, or refused for good. Errors name no URL and no answer: both may hold a
secret.
"""

from typing import Any, NamedTuple

import aiohttp
import msgspec

from spanloom_processors.core.alerts.records import Alert

TIMEOUT = aiohttp.ClientTimeout(total=10)
PATIENCE_S = 60.0
"""How long to stay away after 429 without Retry-After."""
ANSWER_BYTES, SHOWN = 65_536, 300
PIECE = 8
"""Characters of a secret that give too much of it away."""
_BAD_PAYLOAD = (400, 413, 422)
_PASSING = (408, 425, 429)
"""Answers that blame the sender and still pass by themselves, as what is not 3xx or 4xx does."""
_ADVICE = {401: "check the key or password", 403: "check the key or password", 404: "check the address"}


class Retry(Exception):
    """The target did not take it now; `after`: seconds to wait first, None: the caller's backoff. `advice`: what a
    person has to do, or it never will; empty: it may pass by itself.
    """

    def __init__(self, message: str, after: float | None = None, advice: str = "") -> None:
        super().__init__(message)
        self.after = after
        self.advice = advice


class Refused(Exception):
    """The target will never take it as it is. `answer`: how its answer begins, which may repeat a secret."""

    def __init__(self, message: str, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer

    def told(self, *secrets: str) -> str:
        """The refusal with its answer, in a line; without it where it repeats so much as a piece of a secret."""
        answer = " ".join(self.answer.split())
        for secret in secrets:
            answer = answer.replace(secret, "***")
        if any(secret[at : at + PIECE].lower() in answer.lower() for secret in secrets for at in _pieces(secret)):
            return f"{self} (with an answer that repeats a secret)"
        return f"{self}: {answer[:SHOWN]}" if answer else str(self)


class Refusal(NamedTuple):
    """An alert that a target will never take, and why; `why` holds no secret."""

    alert: Alert
    why: str


async def post(session: aiohttp.ClientSession, target: str, url: str, body: Any) -> None:
    """Send `body` as JSON; raise Retry or Refused unless the target answers 2xx. A redirect is not followed."""
    try:
        answer = session.post(url, data=encode(body), headers=_HEADERS, allow_redirects=False, timeout=TIMEOUT)
        async with answer as response:
            if 200 <= response.status < 300:
                return
            said = (await response.content.read(ANSWER_BYTES)).decode(errors="replace")
    except aiohttp.ClientSSLError as error:
        raise Retry(f"{target}: {_certificate(error)}", advice="check its certificate, and http or https") from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Retry(f"{target}: {type(error).__name__}") from None
    if response.status in _BAD_PAYLOAD:
        raise Refused(f"{target} answered {response.status}", said)
    raise Retry(f"{target} answered {response.status}", _after(response), _advice(response.status))


def encode(body: Any) -> bytes:
    """The bytes of a body."""
    return msgspec.json.encode(body)


_HEADERS = {"Content-Type": "application/json", "User-Agent": "spanloom"}


def _after(response: aiohttp.ClientResponse) -> float | None:
    given = response.headers.get("Retry-After", "")
    if given.isdigit():
        return min(float(given), 600.0)
    return PATIENCE_S if response.status == 429 else None


def _advice(status: int) -> str:
    if 300 <= status < 400:
        return "a redirect is not followed: give the address that it leads to"
    return _ADVICE.get(status, "check the address") if 400 <= status < 500 and status not in _PASSING else ""


def _certificate(error: aiohttp.ClientSSLError) -> str:
    """What is wrong with TLS, without the host that it is about."""
    why = getattr(getattr(error, "certificate_error", None), "verify_message", "").partition(",")[0]
    return f"{type(error).__name__}{f' ({why})' if why else ''}"


def _pieces(secret: str) -> range:
    return range(max(1, len(secret) - PIECE + 1))
