"""Who sends, and in which frame: what a process says of itself in its batches."""

import socket
import sys
from importlib.metadata import version
from pathlib import Path

from spanloom_schemas import codec

from spanloom import wire
from spanloom.settings import ProducerSettings


def prefix(settings: ProducerSettings, timeout: float) -> bytes:
    """Return the bytes in front of every batch. Raises RegistryError where a registry is to be asked and is away.

    It is waited for `timeout` seconds at most.
    """
    if not settings.schema_registry_url:
        return codec.prefix("span_batch")
    from spanloom_schemas import registry

    return codec.prefix("span_batch", registry.of(settings, timeout))


def program(argv: list[str]) -> str:
    """Return the name of the running program: its file's, or, of `python -m package`, the package's."""
    path = Path(argv[0] if argv and argv[0] else "python")
    return path.parent.name if path.name == "__main__.py" else path.name


def origin(settings: ProducerSettings, epoch: int) -> wire.Origin:
    """Return what is constant in this process's headers."""
    host = settings.host or socket.gethostname()
    name = settings.service or program(sys.argv)
    return wire.Origin(
        producer=f"{host}:{name}",
        epoch=epoch,
        service=name,
        environment=settings.environment,
        host=host,
        version=settings.version,
        sdk=f"spanloom/{version('spanloom')}",
    )
