"""Thresholds of panels: those of the default rules, so that a board turns red where an alert fires."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from spanloom_processors.core.alerts.rules import Above, Band, Below, Budget, Rule, parse

RULES: Mapping[str, Rule] = {
    rule.name: rule for rule in parse((files("spanloom_processors") / "rules" / "default.yaml").read_text())
}
_COLOURS = {"info": "blue", "warning": "orange", "error": "red", "critical": "red"}


def limit(name: str) -> float:
    """The limit of the default rule of that name, in its metric's base unit."""
    condition = RULES[name].condition
    assert isinstance(condition, Above | Below | Budget), f"{name} has no fixed limit"
    return condition.limit


def band(name: str) -> Band:
    """The band of the default rule of that name."""
    condition = RULES[name].condition
    assert isinstance(condition, Band), f"{name} has no band"
    return condition


def of_rules(*names: str, scale: float = 1.0) -> dict[str, Any]:
    """Green below the limits of the rules, then each rule's colour; `scale`: from the rule's unit to the panel's."""
    steps = sorted((limit(name) * scale, _COLOURS[RULES[name].severity]) for name in names)
    return at(*steps)


def below(name: str) -> dict[str, Any]:
    """The rule's colour below its limit, then green."""
    steps = [{"color": _COLOURS[RULES[name].severity], "value": None}, {"color": "green", "value": limit(name)}]
    return {"mode": "absolute", "steps": steps}


def firing(name: str) -> dict[str, Any]:
    """The rule's colour from the first alert on: for a rule that learns its limit, of which a panel can only ask it."""
    return at((1, _COLOURS[RULES[name].severity]))


def at(*steps: tuple[float, str]) -> dict[str, Any]:
    """Green below the first value, then the colour of each value that is reached."""
    reached = [{"color": colour, "value": value} for value, colour in steps]
    return {"mode": "absolute", "steps": [{"color": "green", "value": None}, *reached]}


LATENCY_MS = of_rules("RequestLatencyP95High", "RequestLatencyP95Critical", scale=1000)
MEDIAN_MS = of_rules("RequestLatencyP50High", scale=1000)
ERRORS = of_rules("RequestErrorsHigh", "RequestErrorsCritical")
TTFT_MS = of_rules("TimeToFirstTokenHigh", scale=1000)
TPOT_MS = of_rules("TimePerOutputTokenHigh", scale=1000)
UNPRICED = of_rules("SpendUnpriced")
REQUEST_DOLLARS = of_rules("CostlyRequest")
DAY_DOLLARS = of_rules("DailyBudgetSpent")
MONTH_DOLLARS = of_rules("MonthlyBudgetSpent")
GPU_BUSY = below("GpuUnderused")
ANY = at((1, "red"))
NONE = at()


def of_rules_window(name: str) -> dict[str, Any]:
    """Red from the length of the rule's window on, in seconds: for what was absent so long."""
    return at((RULES[name].window / 1000, "red"))
