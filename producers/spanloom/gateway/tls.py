"""The gateway's certificate, for both doors."""

import ssl
from pathlib import Path
from typing import NamedTuple

from spanloom_schemas.settings import SettingsError

from spanloom.gateway.settings import GatewaySettings

_NAMES = "SPANLOOM_GATEWAY_CERT_FILE, SPANLOOM_GATEWAY_KEY_FILE"


class Certificate(NamedTuple):
    """A chain of certificates and its key, as PEM."""

    chain: bytes
    key: bytes


def load(settings: GatewaySettings) -> Certificate | None:
    """Return the certificate; None: the doors speak plaintext. Raises SettingsError, one line."""
    chain, key = settings.gateway_cert_file, settings.gateway_key_file
    if not chain and not key:
        return None
    if not chain or not key:
        raise SettingsError(f"{_NAMES}: set both, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, _no_passphrase)
        return Certificate(Path(chain).read_bytes(), Path(key).read_bytes())
    except OSError as error:
        raise SettingsError(f"{_NAMES}: no usable PEM in {chain}, {key}: {error.strerror or error}") from None


def _no_passphrase() -> str:
    """Without it OpenSSL would ask the terminal, and wait."""
    raise SettingsError("SPANLOOM_GATEWAY_KEY_FILE is protected by a passphrase: the gateway takes a key without one")
