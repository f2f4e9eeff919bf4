"""Rules as people write them: YAML, typed; every mistake is one line that names the rule and the key."""

import difflib
import re
from collections.abc import Iterable
from string import Formatter
from typing import Any, Literal, NamedTuple

import msgspec
import yaml
from spanloom_schemas.panes import KEY

from spanloom_processors.core.alerts import metrics
from spanloom_processors.core.alerts.metrics import Fold, Metric, render

PANE_MS = 10_000
PANE_LABELS = tuple(column for column in KEY if column != "request")
TRACE_LABELS = ("environment", "service", "name", "tenant", "prompt_id", "prompt_version", "experiment", "run_id")
MACHINE_LABELS = ("environment", "host", "gpu_id")
LONGEST_WINDOW_MS = 3_600_000

Where = tuple[tuple[str, frozenset[str | bool]], ...]


class RuleError(ValueError):
    """A rules file that cannot be used; the message is one line."""


class Above(NamedTuple):
    """True while the value is above `limit` (in the metric's base unit)."""

    limit: float


class Below(NamedTuple):
    """True while the value is below `limit`."""

    limit: float


class Budget(NamedTuple):
    """True while the sum since the start of the UTC day or month is above `limit`."""

    period: Literal["day", "month"]
    limit: float


class Absent(NamedTuple):
    """True from when a group that had spans has none in the whole window, until it has some again."""


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """True while the value is outside what the group's last `history` teaches.

    A rate: the chance of as many or more events, given the baseline's rate, is under `p_value` (binomial, with the
    baseline's own uncertainty). Cost per minute: further from the median than `width` robust standard deviations.
    """

    side: Literal["above", "both"] = "above"
    p_value: float = 1e-5
    width: float = 6.0


Condition = Above | Below | Budget | Absent | Band


class Rule(NamedTuple):
    """A rule ready to be judged; times in ms, thresholds in base units."""

    name: str
    metric: Metric
    where: Where
    group_by: tuple[str, ...]
    window: int
    hold: int
    minimum: int
    severity: str
    condition: Condition
    summary: str
    description: str

    @property
    def early(self) -> bool:
        """Fires the moment it is true, without waiting for the window's end."""
        if isinstance(self.condition, Budget):
            return True
        return isinstance(self.condition, Above) and self.metric.grows and self.hold == 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its groups' labels, in order: of a rule about one request, the partition too."""
        return tuple(sorted([*self.group_by, *(["partition"] if self.metric.fold is Fold.TRACE else [])]))

    def sentence(self) -> str:
        """The rule in one human line."""
        per = f" per {', '.join(self.group_by)}" if self.group_by else ""
        filters = [(key, values) for key, values in self.where if not (key == "request" and self.metric.requests_only)]
        where = "".join(f" where {key} is {' or '.join(sorted(map(str, values)))}" for key, values in filters)
        hold = f", for {spell(self.hold)}" if self.hold else ""
        minimum = f", with at least {self.minimum} in it" if self.minimum > 1 else ""
        return f"{self.name} ({self.severity}): {self.metric.phrase}{where}{per} {self._condition()}{hold}{minimum}"

    def _condition(self) -> str:
        over = f"over {spell(self.window)}"
        match self.condition:
            case Above(limit):
                if self.metric.fold is Fold.TRACE:
                    return f"above {render(limit, self.metric.unit)}, at most one page in {spell(self.window)}"
                return f"above {render(limit, self.metric.unit)} {over}"
            case Below(limit):
                return f"below {render(limit, self.metric.unit)} {over}"
            case Budget(period, limit):
                return f"above {render(limit, self.metric.unit)} in a UTC {period}"
            case Absent():
                return f"is absent {over}"
            case Band(side=side):
                return f"{'above' if side == 'above' else 'outside'} its baseline of 24 h {over}"


class _Budget(msgspec.Struct, forbid_unknown_fields=True):
    period: Literal["day", "month"]
    limit: float | str


class _Source(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rule as written."""

    name: str
    metric: str
    where: dict[str, bool | str | list[str]] = {}
    group_by: list[str] = []
    window: str = "1m"
    hold: str = msgspec.field(name="for", default="0s")
    minimum: int = 1
    severity: Literal["critical", "error", "warning", "info"]
    above: float | str | None = None
    below: float | str | None = None
    band: Band | None = None
    budget: _Budget | None = None
    absent: Literal[True] | None = None
    summary: str = "{metric} is {value} (threshold {threshold})"
    description: str = ""


class _Loader(yaml.SafeLoader):
    """Reads `1e-5` as the number it is; YAML 1.1, which PyYAML reads, wants a point in it."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def parse(text: str) -> list[Rule]:
    """Read a rules file; raise RuleError on the first mistake."""
    try:
        document = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise RuleError(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or set(document) != {"rules"} or not isinstance(document["rules"], list):
        raise RuleError("expected one key, rules, with a list of rules")
    parsed = [_rule(raw, number) for number, raw in enumerate(document["rules"], 1)]
    seen: set[str] = set()
    for rule in parsed:
        if rule.name in seen:
            raise RuleError(f"rule {rule.name}: name: used twice")
        seen.add(rule.name)
    return parsed


def _rule(raw: Any, number: int) -> Rule:
    name = raw.get("name") if isinstance(raw, dict) else None
    label = f"rule {name if isinstance(name, str) else f'number {number}'}"
    try:
        return _compile(msgspec.convert(raw, _Source))
    except msgspec.ValidationError as error:
        raise RuleError(f"{label}: {_reworded(str(error))}") from None
    except RuleError as error:
        raise RuleError(f"{label}: {error}") from None


def _compile(source: _Source) -> Rule:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", source.name):
        raise RuleError("name: letters, digits and underscores only")
    metric = metrics.find(source.metric)
    if metric is None:
        raise RuleError(f"metric: {source.metric!r} is unknown{_nearest(source.metric, metrics.names())}")
    labels = {Fold.TRACE: TRACE_LABELS, Fold.SAMPLES: MACHINE_LABELS}.get(metric.fold, PANE_LABELS)
    _check_known("group_by", source.group_by, labels)
    _check_known("where", source.where, labels if metric.fold is Fold.SAMPLES else (*labels, "request"))
    rule = Rule(
        name=source.name,
        metric=metric,
        where=_where(source, metric),
        group_by=tuple(sorted(set(source.group_by))),
        window=_window(source),
        hold=duration("for", source.hold),
        minimum=source.minimum,
        severity=source.severity,
        condition=_condition(source, metric),
        summary=source.summary,
        description=source.description,
    )
    _check_templates(rule)
    _check_fit(rule)
    return rule


def _where(source: _Source, metric: Metric) -> Where:
    wanted: dict[str, frozenset[str | bool]] = {
        key: frozenset(value) if isinstance(value, list) else frozenset([value]) for key, value in source.where.items()
    }
    for key, values in wanted.items():
        if any(isinstance(value, bool) != (key == "request") for value in values):
            raise RuleError(
                f"where: {key}: expected {'true or false' if key == 'request' else 'text or a list of texts'}"
            )
    if metric.requests_only:
        wanted["request"] = frozenset([True])
    return tuple(sorted(wanted.items()))


def _window(source: _Source) -> int:
    window = duration("window", source.window)
    if window % PANE_MS or not PANE_MS <= window <= LONGEST_WINDOW_MS:
        raise RuleError(f"window: {source.window} is not a multiple of 10s between 10s and 1h")
    return window


def _condition(source: _Source, metric: Metric) -> Condition:
    given = [key for key in ("above", "below", "band", "budget", "absent") if getattr(source, key) is not None]
    if len(given) != 1:
        raise RuleError(f"expected exactly one of above, below, band, budget, absent; got {', '.join(given) or 'none'}")
    if source.above is not None:
        return Above(_amount("above", source.above, metric))
    if source.below is not None:
        return Below(_amount("below", source.below, metric))
    if source.budget is not None:
        return Budget(source.budget.period, _amount("budget", source.budget.limit, metric))
    return source.band or Absent()


def _check_fit(rule: Rule) -> None:
    fold = rule.metric.fold
    if rule.minimum < 1:
        raise RuleError("minimum: expected at least 1")
    if fold is Fold.TRACE and (not isinstance(rule.condition, Above) or rule.hold):
        raise RuleError(f"{rule.metric.name} is about one request: only above, without for")
    if fold is Fold.SAMPLES and not isinstance(rule.condition, Above | Below):
        raise RuleError(f"{rule.metric.name} is about a machine: only above or below")
    if fold is Fold.SAMPLES and not {"environment", "host"} <= set(rule.group_by):
        raise RuleError("group_by: environment and host are needed: each machine has a time of its own")
    if isinstance(rule.condition, Budget) and (rule.metric.fold is not Fold.SUM or rule.hold):
        raise RuleError("budget: needs a sum (cost, tokens, requests, spans), without for")
    if isinstance(rule.condition, Absent) and rule.metric.name not in ("spans", "requests"):
        raise RuleError("absent: needs the metric spans or requests")
    if isinstance(rule.condition, Band):
        _check_band(rule.metric, rule.condition)


def _check_band(metric: Metric, band: Band) -> None:
    if metric.fold not in (Fold.RATIO, Fold.BLOCKED) and metric.name != "cost_per_minute":
        raise RuleError("band: needs a rate or cost_per_minute")
    if not 0 < band.p_value < 1 or band.width <= 0:
        raise RuleError("band: expected p_value between 0 and 1 and width above 0")
    if band.side == "both" and metric.name != "cost_per_minute":
        raise RuleError("band: side both is for cost_per_minute only")


def _check_templates(rule: Rule) -> None:
    known = {"metric", "value", "threshold", "window", *rule.group_by}
    for key in ("summary", "description"):
        try:
            parts = [part for part in Formatter().parse(getattr(rule, key)) if part[1] is not None]
        except ValueError as error:
            raise RuleError(f"{key}: {error}") from None
        for _, name, spec, conversion in parts:
            if spec or conversion:
                raise RuleError(f"{key}: {{{name}}}: no format or conversion is possible")
            if name not in known:
                raise RuleError(f"{key}: {{{name}}} is unknown; known: {', '.join(sorted(known))}")


def _check_known(key: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise RuleError(f"{key}: {name!r} is unknown{_nearest(name, known)}; known: {', '.join(known)}")


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def duration(key: str, text: str) -> int:
    """Milliseconds of "10s", "5m", "1h", "500ms"."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise RuleError(f"{key}: {text!r} is not a duration such as 10s, 5m or 1h")
    return round(float(match[1]) * _MS[match[2]])


def _amount(key: str, given: float | str, metric: Metric) -> float:
    """A threshold in the metric's base unit; texts may carry a unit: 500ms, 2%, $1000."""
    if not isinstance(given, str):
        return float(given)
    text = given.strip().replace(",", "")
    if metric.unit == "seconds":
        return duration(key, text) / 1000
    scale = 1.0
    if metric.unit == "ratio" and text.endswith("%"):
        text, scale = text[:-1], 0.01
    try:
        return float(text.removeprefix("$") if metric.unit.startswith("dollars") else text) * scale
    except ValueError:
        raise RuleError(f"{key}: {given!r} is not an amount in {metric.unit}") from None


def spell(ms: int) -> str:
    """A duration for people: 10 s, 5 min, 1 h."""
    for unit, name in ((3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms % unit == 0:
            return f"{ms // unit} {name}"
    return f"{ms} ms"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", did you mean {near[0]}" if near else ""


def _reworded(message: str) -> str:
    """Msgspec's "Expected `int`, got `str` - at `$.minimum`" as "minimum: expected int, got str"."""
    text, _, path = message.partition(" - at ")
    text = text.replace("`", "")
    key = path.replace("`", "").removeprefix("$").removeprefix(".")
    text = text[0].lower() + text[1:]
    return f"{key}: {text}" if key else text
