"""docs/operations.md against the code."""

import re
from importlib.metadata import entry_points
from pathlib import Path

from spanloom_schemas.settings import ENTRY_POINTS, variables

DOCUMENT = (Path(__file__).parents[1] / "docs/operations.md").read_text()


def known() -> set[str]:
    names = {name for point in entry_points(group=ENTRY_POINTS) for name in variables(point.load())}
    return {name for name in names if not name.endswith("_FILE") or name.removesuffix("_FILE") not in names}


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"`(SPANLOOM_[A-Z0-9_]+)`", DOCUMENT))
    assert documented == known()
