"""The broker's jars: fetched by jgo, pinned by `kafka.lock`, checked before every start.

The lock names every jar with its SHA-256, so nothing is resolved at run time and a start with a full cache needs no
network. `python -m spanloom_stack.jars` writes the lock anew; only a change of the broker's version needs that.
"""

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(__file__).with_name("kafka.lock")

# kafka-clients is named beside the broker because jgo 3.2 resolves it to an older version otherwise.
_BROKER = "org.apache.kafka:kafka_2.13:4.3.1+org.apache.kafka:kafka-clients:4.3.1"
# The broker's POM leaves the choice of a logging back end to its distribution, which takes this one. It is not resolved
# together with the broker: its own managed versions would replace the broker's.
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
_DOWNLOADS = 8


class JarError(RuntimeError):
    """A jar that cannot be had, or is not the one the lock names; one line, for people."""


def fetch(
    cache: Path, lock: Path = LOCK, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Path]:
    """Return the paths of all jars in `lock`, downloading into `cache` those that are missing or damaged there.

    `progress(done, total)` counts jars, where one has to be downloaded. Raises JarError when a download fails or does
    not have the locked SHA-256.
    """
    pins = read(lock)
    cache.mkdir(parents=True, exist_ok=True)
    with _exclusive(cache / ".lock"), ThreadPoolExecutor(_DOWNLOADS) as pool:
        missing = not all(_place(cache, coordinate).exists() for coordinate in pins)
        paths = []
        for path in pool.map(lambda pin: _jar(cache, *pin), pins.items()):
            paths.append(path)
            if missing:
                progress(len(paths), len(pins))
    return paths


def read(lock: Path = LOCK) -> dict[str, str]:
    """The pinned jars: `group:artifact:version` to SHA-256."""
    return dict(line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))


def _place(cache: Path, coordinate: str) -> Path:
    group, artifact, version = coordinate.split(":")
    return cache.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def _jar(cache: Path, coordinate: str, digest: str) -> Path:
    path = _place(cache, coordinate)
    if path.exists():
        if _sha256(path) == digest:
            return path
        path.unlink()  # an interrupted download, or a changed file: only the locked bytes are ever run
    from jgo.maven import MavenContext  # slow to import, and most starts have all jars

    group, artifact, version = coordinate.split(":")
    try:
        path = Path(MavenContext(repo_cache=cache).project(group, artifact).at_version(version).artifact().resolve())
    except Exception as error:  # jgo raises what requests raises, and RuntimeError
        path.unlink(missing_ok=True)
        raise JarError(f"cannot download {coordinate}: {error}; check the network and run again") from error
    found = _sha256(path)
    if found != digest:
        raise JarError(f"{coordinate} has SHA-256 {found}, but kafka.lock says {digest}: not started")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two first starts at once would write one file
        yield


def _write(lock: Path) -> None:
    import jgo
    from jgo.maven import MavenContext

    resolved = {f"{a.groupId}:{a.artifactId}:{a.version}" for a in jgo.resolve(_BROKER)}
    coordinates = sorted({*resolved, _LOGGING})
    context = MavenContext()
    lines = []
    for coordinate in coordinates:
        group, artifact, version = coordinate.split(":")
        lines.append(
            f"{coordinate} {_sha256(context.project(group, artifact).at_version(version).artifact().resolve())}\n"
        )
    lock.write_text("# Written by `python -m spanloom_stack.jars`.\n" + "".join(lines))


if __name__ == "__main__":
    _write(LOCK)
