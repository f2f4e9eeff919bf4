"""Ids of people and texts leave this process only as keyed hashes.

HMAC-SHA-256 under the pepper, cut to 128 bits, prefixed with the key's id: `k1:5e884898da280471…`. A plain hash of an
e-mail address is found by trying addresses, so there is none. Without a configured pepper a random one of this process
is used (key id `k0`): its hashes join within the process and nowhere else.

A pepper in a file may be rotated while services run: they look at the file once a minute, and what they hash from then
on carries the new key's id.
"""

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

LOOK_SECONDS = 60.0
"""Between looks at the pepper's file."""

_log = logging.getLogger("spanloom")
_pepper: tuple[str, bytes] | None = None
_file: tuple[Path, str] | None = None
"""Where the pepper came from, and what was there."""


def follow(path: str) -> None:
    """Take the pepper of a file from now on, whenever `look` finds another one there; empty: of none."""
    global _file
    _file = (Path(path), _read(Path(path))) if path else None


def look() -> None:
    """Use the pepper that is in the file now. One that cannot be read, or says nothing, changes nothing."""
    global _file
    if _file is None:
        return
    path, before = _file
    said = _read(path)
    if said and said != before:
        _file = (path, said)
        use(said)
        _log.info("the pepper has changed: users are hashed with key %s", (_pepper or ("k0", b""))[0])


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        return ""


def use(secret: str) -> None:
    """Take the pepper: a secret text, optionally with its key's id in front (`k2:…`; default `k1`). Empty: a random
    one.
    """
    global _pepper
    if not secret:
        _pepper = None
        return
    key, colon, rest = secret.partition(":")
    named = colon and rest and key[:1] == "k" and key[1:].isdigit()
    _pepper = (key, rest.encode()) if named else ("k1", secret.encode())


def pseudonym(value: str) -> str:
    """Return the keyed hash of a user id or a text: key id, colon, 32 hexadecimal characters."""
    key, secret = _pepper or _random()
    return f"{key}:{_hmac()(secret, value.encode('utf-8', 'replace'), 'sha256').hex()[:32]}"


class User:
    """A user's id on its way to becoming a pseudonym: hashed once, by the sender, and then forgotten.

    The hash costs more than the rest of a span in the host's thread, so it is not made there.
    """

    __slots__ = ("_pseudonym", "_raw")

    def __init__(self, raw: str) -> None:
        self._raw = raw
        self._pseudonym = ""

    def pseudonym(self) -> str:
        """Return the keyed hash."""
        if not self._pseudonym:
            self._pseudonym = pseudonym(self._raw)
            self._raw = ""
        return self._pseudonym

    def __repr__(self) -> str:
        return "User('***')"


@cache
def _hmac() -> Callable[[bytes, bytes, str], bytes]:
    from hmac import digest  # loads OpenSSL, which a service that names no user can do without

    return digest


def _random() -> tuple[str, bytes]:
    global _pepper
    _pepper = ("k0", os.urandom(32))
    _log.warning(
        "SPANLOOM_USER_PEPPER is not set: users are hashed with a random key of this process, "
        "so nobody can tell that two processes saw the same one"
    )
    return _pepper
