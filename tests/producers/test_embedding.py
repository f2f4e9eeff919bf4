"""Every Python block of docs/embedding.md runs, in order, in one process."""

import re
import subprocess
import sys
from pathlib import Path

from spanloom.gateway.settings import GatewaySettings
from spanloom_schemas.settings import variables

TEXT = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text("utf-8")


def test_the_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) > 5
    code = "import os\nos.environ['SPANLOOM_DISABLED'] = 'true'\n" + "\n".join(blocks)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_every_variable_that_is_named_exists() -> None:
    assert set(re.findall(r"SPANLOOM_[A-Z_]*[A-Z]\b(?!_)", TEXT)) <= {*variables(GatewaySettings)}
