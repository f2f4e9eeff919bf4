import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from spanloom_processors.core.alerts.rules import Above, Absent, Band, Below, Budget, RuleError, parse
from spanloom_processors.rules_command import rules

RULE = "rules:\n  - {name: R, metric: request_p95, above: 500ms, severity: warning"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE + ", colour: red}", "rule R: object contains unknown field colour"),
        (RULE + ", minimum: many}", "rule R: minimum: expected int, got str"),
        (RULE + ", window: 25s}", "rule R: window: 25s is not a multiple of 10s between 10s and 1h"),
        (RULE + ", for: soon}", "rule R: for: 'soon' is not a duration such as 10s, 5m or 1h"),
        (RULE + ", below: 1s}", "rule R: expected exactly one of above, below, band, budget, absent; got above, below"),
        (RULE + ", group_by: [modle]}", "rule R: group_by: 'modle' is unknown, did you mean model; known: "),
        (RULE + ", where: {kind: true}}", "rule R: where: kind: expected text or a list of texts"),
        (
            RULE + ', summary: "{nobody}"}',
            "rule R: summary: {nobody} is unknown; known: metric, threshold, value, window",
        ),
        (RULE + ', summary: "{value.real}"}', "rule R: summary: {value.real} is unknown"),
        (RULE + ', summary: "{value:>9999999999}"}', "rule R: summary: {value}: no format or conversion"),
        (RULE + "}\n" + RULE.removeprefix("rules:\n") + "}", "rule R: name: used twice"),
        (
            RULE.replace("request_p95", "reqest_p95") + "}",
            "rule R: metric: 'reqest_p95' is unknown, did you mean request_p95",
        ),
        (RULE.replace("warning", "loud") + "}", "rule R: severity: invalid enum value 'loud'"),
        (RULE.replace("500ms", "1%") + "}", "rule R: above: '1%' is not a duration"),
        (RULE.replace("above: 500ms", "band: {}") + "}", "rule R: band: needs a rate or cost_per_minute"),
        (RULE.replace("above: 500ms", "absent: true") + "}", "rule R: absent: needs the metric spans or requests"),
        (RULE.replace("name: R, ", "") + "}", "rule number 1: object missing required field name"),
        ("rules: {}", "expected one key, rules, with a list of rules"),
        ("rules: [", "not YAML: "),
        ("rules: [3]", "rule number 1: expected object, got int"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_rule_and_the_key(text: str, message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_thresholds_may_carry_their_unit() -> None:
    limits = {"request_p95": "1.2s", "ttft_p50": "500ms", "request_error_rate": "2%", "cost": "$1,000", "spans": "7"}
    text = "rules:\n" + "".join(
        f"  - {{name: {name}, metric: {name}, above: '{limit}', severity: info}}\n" for name, limit in limits.items()
    )
    assert [rule.condition for rule in parse(text)] == [Above(1.2), Above(0.5), Above(0.02), Above(1000.0), Above(7.0)]


def test_a_quantile_is_read_from_the_metrics_name() -> None:
    text = RULE.replace("request_p95", "duration_p999") + ", where: {kind: [retrieval, rerank]}}"
    (rule,) = parse(text)
    assert rule.metric.quantile == 0.999
    assert rule.sentence() == (
        "R (warning): p99.9 of span duration where kind is rerank or retrieval above 500 ms over 1 min"
    )


def test_the_default_rules_are_those_of_the_specification(default_rules: list) -> None:
    said = {(rule.metric.name, rule.condition, rule.hold // 60_000, rule.severity) for rule in default_rules}
    assert said == {
        ("request_p50", Above(0.5), 5, "warning"),
        ("request_p95", Above(1.2), 5, "warning"),
        ("request_p95", Above(2.0), 5, "critical"),
        ("request_error_rate", Above(0.01), 5, "warning"),
        ("request_error_rate", Above(0.02), 5, "critical"),
        ("ttft_p95", Above(0.5), 0, "warning"),
        ("tpot_p95", Above(0.05), 0, "warning"),
        ("trace_cost", Above(1.0), 0, "warning"),
        ("cost", Budget("day", 1000.0), 0, "critical"),
        ("cost", Budget("month", 20000.0), 0, "critical"),
        ("cost_per_minute", Band("both", 1e-5, 6.0), 1, "warning"),
        ("block_rate", Band("above", 1e-5, 6.0), 0, "critical"),
        ("unpriced_share", Above(0.01), 0, "warning"),
        ("spans", Absent(), 0, "critical"),
        ("gpu_utilization", Below(0.5), 10, "warning"),
    }


def test_check_says_each_rule_in_one_line() -> None:
    result = CliRunner().invoke(rules, ["check"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 15
    assert "DailyBudgetSpent (critical): known cost per environment above $1,000.00 in a UTC day" in result.output


def test_check_of_a_broken_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE + ", colour: red}")
    result = CliRunner().invoke(rules, ["check", str(file)])
    assert result.exit_code == 1
    assert result.output == f"Error: {file}: rule R: object contains unknown field colour\n"


def test_check_of_a_missing_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(rules, ["check", str(tmp_path / "none.yaml")])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "No such file" in result.output


def test_the_documentation_has_every_default_rule_and_an_example_that_is_one(default_rules: list) -> None:
    text = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", text, re.M)[: len(default_rules)] == [
        (rule.name, rule.severity) for rule in default_rules
    ]
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert [rule.name for rule in parse(example)] == ["RetrievalSlow"]
