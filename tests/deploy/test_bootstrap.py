"""What `make` says where it cannot begin, and that a second run has nothing left to do."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLD = '#!/bin/sh\ncase "$1$2" in --version*) echo Python 3.10.1;; *version_info*) exit 1;; esac\n'
BARE = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac\n'


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (OLD, "Python 3.10.1 is too old: Spanloom needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11"),
        (BARE, "this Python has no venv module: install it (Debian, Ubuntu: apt install python3-venv), then"),
        (None, "install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"),
    ],
    ids=["too old", "without venv", "none"],
)
def test_a_python_that_will_not_do_is_one_line_that_says_what_to_do(
    tmp_path: Path, python: str | None, said: str
) -> None:
    here = tmp_path / "python3"
    if python is not None:
        here.write_text(python)
        here.chmod(0o755)
    deploy = tmp_path / "deploy"  # nothing to install from, should it get so far
    deploy.mkdir()
    script = deploy / "bootstrap.sh"
    script.write_text((ROOT / "deploy/bootstrap.sh").read_text())
    ended = subprocess.run(["sh", script], env={"PATH": "/usr/bin:/bin", "PYTHON": str(here)}, capture_output=True)
    assert ended.returncode == 1
    assert ended.stdout == b""
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("spanloom: ")
    assert said in line
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(not (ROOT / ".venv/.ready").exists(), reason="these packages were not installed by make")
def test_a_second_run_installs_nothing() -> None:
    assert subprocess.run(["make", "--question", ".venv/.ready"], cwd=ROOT, check=False).returncode == 0
