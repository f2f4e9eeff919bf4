"""What is asked of Prometheus: metrics that exist, expressions that a real Prometheus engine (promtool) answers."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from spanloom_boards import limits
from spanloom_boards.__main__ import FOLDER
from spanloom_boards.testing import targets

ROOT = Path(__file__).parents[3]
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
ASKED = [(name, target["expr"]) for name, board in BOARDS.items() for _, target in targets(board) if "expr" in target]
RULES = {
    path.stem: yaml.safe_load(path.read_text())["groups"][0]["rules"]
    for path in (ROOT / "deploy/compose/prometheus").glob("*.yml")
    if path.stem in ("rules", "applications")
}
DOCUMENT = (ROOT / "docs/metrics.md").read_text()
METRICS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCUMENT, re.MULTILINE))
"""Every metric with its labels, as docs/metrics.md has them."""
_VALUES = {"status": "error", "outcome": "refused", "job": "spanloom-sink"}


def named(expr: str) -> set[str]:
    """The metrics that an expression reads; of a histogram its own name."""
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", "", expr)
    names = set(re.findall(r"\b(?:llm|spanloom|process)_\w+", plain))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_only_metrics_that_are_documented_are_asked_for() -> None:
    expressions = [expr for _, expr in ASKED] + [rule["expr"] for rules in RULES.values() for rule in rules]
    assert {name for expr in expressions for name in named(expr)} <= METRICS.keys()
    assert {name for name in METRICS if name.startswith("llm_")} <= {name for _, expr in ASKED for name in named(expr)}


def recorded() -> list[dict[str, str]]:
    """Ten minutes of every documented metric: counters that grow, gauges that stand."""
    found = []
    for metric, said in METRICS.items():
        labels = {label: _VALUES.get(label, "a") for label in re.findall(r"`(\w+)`", said)} | {"job": "spanloom-sink"}
        names = {metric: {}}
        if metric.endswith(("_latency_seconds", "_insert_seconds")):
            names = {f"{metric}_bucket": {"le": "1.28"}, f"{metric}_count": {}}
        for name, more in names.items():
            text = ", ".join(f'{label}="{value}"' for label, value in (labels | more).items())
            found.append({"series": f"{name}{{{text}}}", "values": "1+6x40"})
            if more:
                found.append({"series": f"{name}{{{text.replace('1.28', '+Inf')}}}", "values": "1+6x40"})
    return found


def promtool(folder: Path, test: dict[str, Any]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: sh deploy/install-tools.sh brings it on Debian")
    file = folder / "boards_test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_a_board_answers(tmp_path: Path) -> None:
    """As Grafana asks it: the rate interval of a scrape every 15 s, and a model chosen from All."""
    asked = {expr.replace("$__rate_interval", "1m").replace("$model", ".*") for _, expr in ASKED}
    assert len(asked) > 20
    assert not [expr for expr in asked if "$" in expr]
    answers = [
        {"expr": f"clamp_max(count({expr}), 1)", "eval_time": "8m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for expr in sorted(asked)
    ]
    promtool(tmp_path, {"interval": "15s", "input_series": recorded(), "promql_expr_test": answers})


def test_the_limits_are_those_of_the_default_rules() -> None:
    said = {rule["alert"]: rule["expr"] for rule in RULES["applications"] if "alert" in rule}
    same = {
        "ModelCallsFail": "RequestErrorsHigh", "ModelCallsFailCritical": "RequestErrorsCritical",
        "ModelCallsSlow": "RequestLatencyP95High", "ModelCallsSlowCritical": "RequestLatencyP95Critical",
        "ModelBudgetSpent": "DailyBudgetSpent", "ModelSpendUnpriced": "SpendUnpriced",
    }  # fmt: skip
    for alert, rule in same.items():
        assert f"> {limits.limit(rule):g}" in said[alert]


def test_a_page_goes_out_once_where_clickhouse_is() -> None:
    """The rules about applications are there, and not loaded beside Spanloom's own."""
    loaded = yaml.safe_load((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text())["rule_files"]
    assert loaded == ["rules.yml"]
