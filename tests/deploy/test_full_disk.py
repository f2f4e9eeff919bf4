"""A disk that is full is an error, never a silent yes."""

import os
import subprocess
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
from spanloom_stack import sql
from spanloom_stack.engine import Engine, EngineError, Request

REQUEST = Request("default", {}, {}, read_only=False)
INSERT = sql.insert(b"INSERT INTO t (a) FORMAT TabSeparated\n")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("a small file system is mounted by root only")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "spanloom-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_an_insert_that_finds_no_room_fails_and_the_next_one_with_its_token_stores_its_rows(disk: Path) -> None:
    engine = Engine(disk / "data")
    engine.query(
        "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 9",
        "TabSeparated",
        REQUEST,
    )
    again = REQUEST._replace(settings={"insert_deduplication_token": "block"})
    assert INSERT is not None
    with (disk / "filler").open("wb", buffering=0) as filler:
        with pytest.raises(OSError, match="No space"):
            filler.writelines(repeat(bytes(1 << 16)))
        with pytest.raises(EngineError, match="not enough space"):
            engine.insert(INSERT, [b"1\n2\n"], again)
    (disk / "filler").unlink()
    for _ in range(2):
        engine.insert(INSERT, [b"1\n2\n"], again)
    assert engine.query("SELECT count() FROM t", "TabSeparated", REQUEST).body == b"2\n"
    engine.close()
