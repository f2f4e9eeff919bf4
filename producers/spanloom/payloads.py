"""What people and models wrote, on its way out: only on request, of a share of all traces, cut, and sanitized by the
sender.

The host's thread keeps the beginning of the text; the detectors look at it when the sender encodes the span.
"""

from importlib.util import find_spec
from sys import getsizeof

from spanloom.complaints import complain

LIMIT = 8192
"""Characters of a payload that are sent."""
MARGIN = 512
"""Characters beyond the limit that the detectors see, so that nothing is half seen."""


class Payload:
    """A text on its way to being sanitized."""

    __slots__ = ("_length", "_limit", "_text")

    def __init__(self, text: str, limit: int = LIMIT) -> None:
        self._limit = limit
        self._length = len(text)
        self._text = text[: limit + MARGIN]

    def __len__(self) -> int:
        """Return the bytes held."""
        return getsizeof(self._text)

    def sanitized(self) -> str | None:
        """Return the text without what the detectors know, and cut; None where it cannot be looked at."""
        try:
            from spanloom.detectors import sanitize

            said = sanitize(self._text, self._limit)
        except Exception as error:  # whatever is wrong, an unseen text does not leave
            complain("a payload could not be sanitized and is not sent", type(error).__name__)
            return None
        more = self._length - self._limit
        return said if more <= 0 else f"{said} [… {more} more characters]"

    def __repr__(self) -> str:
        return "Payload('***')"


def can_be_sanitized() -> bool:
    """Say whether what the detectors need is installed."""
    return find_spec("re2") is not None
