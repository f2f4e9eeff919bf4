import hashlib
from functools import partial
from pathlib import Path

import pytest
from jgo.maven import MavenContext
from spanloom_stack import jars

COORDINATE = "org.example:thing:1.0"
FILE = Path("org/example/thing/1.0/thing-1.0.jar")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for Maven Central: what the tests put there can be had, and nothing else."""
    folder = tmp_path / "central"
    (folder / FILE).parent.mkdir(parents=True)
    monkeypatch.setattr("jgo.maven.MavenContext", partial(MavenContext, local_repos=[folder], offline=True))
    return folder


def lock(folder: Path, content: bytes) -> Path:
    path = folder / "kafka.lock"
    path.write_text(f"# a comment\n{COORDINATE} {hashlib.sha256(content).hexdigest()}\n")
    return path


def test_a_jar_in_the_cache_needs_no_repository(tmp_path: Path, repository: Path) -> None:
    cached = tmp_path / "cache" / FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"jar")
    assert jars.fetch(tmp_path / "cache", lock(tmp_path, b"jar")) == [cached]


def test_a_damaged_jar_in_the_cache_is_fetched_anew(tmp_path: Path, repository: Path) -> None:
    cached = tmp_path / "cache" / FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a j")
    (repository / FILE).write_bytes(b"jar")
    (path,) = jars.fetch(tmp_path / "cache", lock(tmp_path, b"jar"))
    assert path.read_bytes() == b"jar"


def test_a_jar_other_than_the_locked_one_is_refused(tmp_path: Path, repository: Path) -> None:
    (repository / FILE).write_bytes(b"another jar")
    with pytest.raises(jars.JarError, match=r"org\.example:thing:1\.0 has SHA-256 \w+, but kafka\.lock says \w+"):
        jars.fetch(tmp_path / "cache", lock(tmp_path, b"jar"))


def test_a_jar_that_cannot_be_had_is_named(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(jars.JarError, match=r"cannot download org\.example:thing:1\.0.*check the network"):
        jars.fetch(tmp_path / "cache", lock(tmp_path, b"jar"))


def test_progress_counts_every_jar(tmp_path: Path, repository: Path) -> None:
    (repository / FILE).write_bytes(b"jar")
    seen: list[tuple[int, int]] = []
    jars.fetch(tmp_path / "cache", lock(tmp_path, b"jar"), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


def test_the_lock_pins_one_version_of_everything_and_no_address() -> None:
    pins = jars.read()
    assert len(pins) > 40
    assert len({coordinate.rpartition(":")[0] for coordinate in pins}) == len(pins)
    assert all(len(digest) == 64 for digest in pins.values())
    brokers = {coordinate.split(":")[2] for coordinate in pins if coordinate.startswith("org.apache.kafka:")}
    assert len(brokers) == 1, "parts of several brokers would be mixed"
    assert "//" not in jars.LOCK.read_text()
