"""docs/operations.md and docs/metrics.md against the code."""

import re
from importlib.metadata import entry_points
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from spanloom.gateway.metrics import Metrics as GatewayMetrics
from spanloom.probe.metrics import Metrics as ProbeMetrics
from spanloom_processors.metrics import Metrics as ProcessorMetrics
from spanloom_schemas.settings import ENTRY_POINTS, variables
from spanloom_sinks.metrics import Metrics as SinkMetrics

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = (DOCS / "operations.md").read_text()


def known() -> set[str]:
    names = {name for point in entry_points(group=ENTRY_POINTS) for name in variables(point.load())}
    return {name for name in names if not name.endswith("_FILE") or name.removesuffix("_FILE") not in names}


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"`(SPANLOOM_[A-Z0-9_]+)`", DOCUMENT))
    assert documented == known()


def exposed(registry: CollectorRegistry) -> set[str]:
    return {scraped_as(family) for family in registry.collect()}


def scraped_as(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `(\w+)`", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    exporting = (ProcessorMetrics(), SinkMetrics(), ProbeMetrics(), GatewayMetrics())
    assert sorted(documented) == sorted({name for metrics in exporting for name in exposed(metrics.registry)})
