"""API keys: who knocks, for which tenant, and how much they may send. Pure; time is a parameter.

The file holds hashes, not keys: `printf %s KEY | sha256sum`.

    - sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
      tenant: acme
      spans_per_second: 500
"""

from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Annotated

import msgspec
from spanloom_schemas.settings import SettingsError

BURST_SECONDS = 5.0
"""A key that was quiet may send what it may send in so many seconds at once."""


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key of the file."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    spans_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """None: as many as Kafka takes."""


class Keys:
    """The keys of a gateway by hash; with `keys` None everybody may send, for no tenant."""

    def __init__(self, keys: list[Key] | None) -> None:
        self._keys = None if keys is None else {key.sha256: key for key in keys}
        self._free: dict[str, tuple[float, float]] = {}
        """Spans that a key may send now, and as of when."""
        self._lock = Lock()

    @property
    def needed(self) -> bool:
        """Whether a request must bring a key."""
        return self._keys is not None

    def find(self, said: str | None) -> Key | None:
        """Return the key that a request brings; None: none, or none that is known."""
        # Looked up by its hash: how long that takes tells nothing of the key.
        return (self._keys or {}).get(sha256((said or "").encode("utf-8", "replace")).hexdigest())

    def admit(self, key: Key | None, spans: int, now: float) -> float:
        """Return 0.0 and count the spans, or the seconds after which they would be within the key's limit.

        A request larger than the burst is admitted when the key has been quiet, and is paid for afterwards. From any
        thread, as is `give_back`.
        """
        if key is None or key.spans_per_second is None:
            return 0.0
        rate, most = key.spans_per_second, key.spans_per_second * BURST_SECONDS
        with self._lock:
            free, since = self._free.get(key.sha256, (most, now))
            free = min(most, free + (now - since) * rate)
            wanted = min(spans, most)
            if free < wanted:
                self._free[key.sha256] = (free, now)
                return (wanted - free) / rate
            self._free[key.sha256] = (free - spans, now)
        return 0.0

    def give_back(self, key: Key | None, spans: int) -> None:
        """Take back that spans were counted: they were not taken, and the same ones may be sent again."""
        if key is None or key.spans_per_second is None:
            return
        with self._lock:
            free, since = self._free[key.sha256]
            self._free[key.sha256] = (free + spans, since)


def load(path: str) -> Keys:
    """Return the keys of a file; an empty path: nobody needs one. Raises SettingsError, one line."""
    if not path:
        return Keys(None)
    try:
        return Keys(msgspec.yaml.decode(Path(path).read_bytes(), type=list[Key]))
    except OSError as error:
        raise SettingsError(f"SPANLOOM_GATEWAY_KEYS_FILE: {path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise SettingsError(f"SPANLOOM_GATEWAY_KEYS_FILE: {path} is no list of keys: {why}") from None
