"""What queries of several boards have in common: where windows come from, what filters them, how they add up."""

from collections.abc import Sequence

FILTERS = ("environment", "service", "tenant")
"""The variables that every board has, named as the columns they filter."""

TOKENS = "t.input_tokens + t.cache_read_tokens + t.cache_write_tokens + t.output_tokens + t.reasoning_tokens"
BUCKETS = ("input", "cache_read", "cache_write", "output", "reasoning")
SEGMENTS = ("system", "instructions", "few_shot", "context", "user")

DOLLARS = "knownDollars(sum(t.cost), sum(t.unpriced))"
REQUESTS = "sumIf(t.spans, t.request)"
FAILED = "sumIf(t.errors, t.request)"
# As the rules count: a block on the request, on a span below it, or on both is one blocked request.
BLOCKED = f"least(greatest(sumIf(t.blocks, t.request), sumIf(t.blocks, NOT t.request)), {REQUESTS})"

WINDOWS = "rolled_up(since = $__fromTime, until = $__toTime) AS t"
"""Minutes of the dashboard's time range, hours where it is longer than two days: see the view."""
TIME = "$__timeInterval(t.start) AS time"


def chosen(*names: str, of: str = "t") -> str:
    """The condition that a row is of what the variables say; each is named as its column."""
    return "\n  AND ".join(
        f"$__conditionalAll({of}.{name} IN (${{{name}:singlequote}}), ${name})" for name in names or FILTERS
    )


def typed(name: str) -> str:
    """The one value of a variable as a text, whatever is in it: no format of Grafana's escapes backslashes."""
    return f"decodeURLComponent('${{{name}:percentencode}}')"


def chosen_alerts() -> str:
    """The condition that an alert is of what the variables say, or of more: its rule does not tell it apart."""
    return "\n  AND ".join(
        f"$__conditionalAll(has(['', ${{{name}:singlequote}}], a.labels['{name}']), ${name})" for name in FILTERS
    )


def firing(rule: str) -> str:
    """How many alerts of the rule fire now, about what the variables say."""
    of_rule = f"a.state = 'firing' AND a.rule = '{rule}'"
    return f"(SELECT count() FROM alerts_now AS a WHERE {of_rule}\n  AND {chosen_alerts()}) AS {rule}"


def windows(*columns: str, by: Sequence[str] = (), where: str = "", having: str = "", each: str = "") -> str:
    """A time series over roll-ups: `columns` in each interval, a series for each value of `by`.

    `by`: pane keys, or expressions with their names (`b.reason AS reason`); `each`: an array with a row for each item.
    """
    keys, names = _keys(by)
    condition = f"\n  AND {where}" if where else ""
    after = f"\nHAVING {having}" if having else ""
    return (
        f"SELECT {', '.join([TIME, *keys, *columns])}\nFROM {_joined(WINDOWS, each)}\nWHERE {chosen()}{condition}"
        f"\nGROUP BY {', '.join(['time', *names])}{after}\nORDER BY {', '.join(['time', *names])}"
    )


def totals(
    *columns: str, by: Sequence[str] = (), where: str = "", having: str = "", order: str = "", each: str = ""
) -> str:
    """A table over roll-ups: `columns` of the whole range, a row for each value of `by`; as `windows` has them."""
    keys, names = _keys(by)
    condition = f"\n  AND {where}" if where else ""
    group = f"\nGROUP BY {', '.join(names)}" if by else ""
    after = f"\nHAVING {having}" if having else ""
    ordered = f"\nORDER BY {order}\nLIMIT 100" if order else ""
    selected = ", ".join([*keys, *columns])
    return f"SELECT {selected}\nFROM {_joined(WINDOWS, each)}\nWHERE {chosen()}{condition}{group}{after}{ordered}"


def _keys(by: Sequence[str]) -> tuple[list[str], list[str]]:
    keys = [key if " AS " in key else f"t.{key} AS {key}" for key in by]
    return keys, [key.rpartition(" AS ")[2] for key in keys]


def _joined(source: str, each: str) -> str:
    return f"{source} ARRAY JOIN {each}" if each else source


_IS_SHORT = "dateDiff('second', $__fromTime, $__toTime) <= 172800"
_WIDTH = f"if({_IS_SHORT}, 60, 3600)"
# Windows that begin in the range are counted whole, up to now.
_BEGIN = f"intDiv(toUnixTimestamp($__fromTime) + {_WIDTH} - 1, {_WIDTH}) * {_WIDTH}"
_END = f"least(toUnixTimestamp(now()), (intDiv(toUnixTimestamp($__toTime), {_WIDTH}) + 1) * {_WIDTH})"


def per_second(amount: str) -> str:
    """`amount` of an interval of windows a second, of the seconds that windows of the range cover of it."""
    return f"{amount} / {_covered(f'greatest($__interval_s, {_WIDTH})', _BEGIN, _END)}"


def rows_per_second(amount: str) -> str:
    """As `per_second`, of rows that are no windows but have a time of their own."""
    return f"{amount} / {_covered('$__interval_s', 'toUnixTimestamp($__fromTime)', 'toUnixTimestamp($__toTime)')}"


def _covered(length: str, begin: str, end: str) -> str:
    return f"greatest(1, least(toUnixTimestamp(time) + {length}, {end}) - greatest(toUnixTimestamp(time), {begin}))"


def per_minute(amount: str) -> str:
    """As `per_second`, a minute."""
    return f"60 * {per_second(amount)}"


def of_range(amount: str) -> str:
    """`amount` of all windows of the range a second."""
    return f"{amount} / greatest(1, {_END} - {_BEGIN})"


def share(part: str, whole: str) -> str:
    """`part` of `whole`; NULL of nothing."""
    return f"if({whole} = 0, NULL, {part} / {whole})"


def quantile(q: float, of: str = "duration", where: str = "") -> str:
    """The q-quantile of a latency in ms, from all sketches together: their buckets, weighted by their counts.

    As `sketchQuantile(q, sumMap(…))`, some four times faster.
    """
    arguments = f"t.{of}_sketch.index, t.{of}_sketch.count::Array(UInt64)"
    condition = ("If", f", {where}") if where else ("", "")
    return f"sketchValue(quantileExactWeightedOrNullArray{condition[0]}({q})({arguments}{condition[1]})) / 1e6"


def quantiles() -> tuple[str, str, str]:
    """p50, p95 and p99 of durations in ms, read once; only for groups that have spans (`SPANS`)."""
    merged = (
        "quantilesExactWeightedArray(0.5, 0.95, 0.99)(t.duration_sketch.index, t.duration_sketch.count::Array(UInt64))"
    )
    p50, p95, p99 = (f"sketchValue({merged}[{n}]) / 1e6 AS {name}" for n, name in enumerate(("p50", "p95", "p99"), 1))
    return p50, p95, p99


SPANS = "sum(t.spans) > 0"


# A trace has the service of its root; a filter by service means every trace that the service took part in. Roll-ups of
# traces know roots only: their rows have no trace_id.
_SPANS_OF_SERVICE = """SELECT s.trace_id FROM spans AS s
      WHERE $__timeFilter(s.end) AND s.service IN (${service:singlequote})"""
# What panels say of how far back such queries see.
OF_TRACES = (
    "Traces are kept for 90 days; of what is older than a week a filter by service means the service of the root."
)
OF_SUMS = (
    "Beyond two days it adds up hours; there, and of what is older than a week, a filter by service means the service "
    "of the root."
)
OF_SPANS = "From raw spans, which are kept for a week."


def _of_service(spans: str) -> str:
    root = "t.service IN (${service:singlequote})"
    return f"$__conditionalAll(({root} OR t.trace_id IN (\n      {spans})), $service)"


def of_traces(*columns: str, where: str = "1", rest: str = "") -> str:
    """A query over one truth a trace, of those that began in the range."""
    filtered = (chosen("environment", "tenant"), _of_service(_SPANS_OF_SERVICE))
    return _selected(columns, "trace_summaries AS t", "$__timeFilter(t.start)", *filtered, where, rest=rest)


def sums_of_traces(*columns: str, where: str = "1", rest: str = "", each: str = "") -> str:
    """A query over sums of traces of the range, by hour where it is longer than two days: see `rolled_up_traces`."""
    filtered = (chosen("environment", "tenant"), _of_service(f"{_SPANS_OF_SERVICE} AND {_IS_SHORT}"))
    source = _joined("rolled_up_traces(since = $__fromTime, until = $__toTime) AS t", each)
    return _selected(columns, source, *filtered, where, rest=rest)


def of_spans(*columns: str, where: str = "1", rest: str = "", each: str = "") -> str:
    """A query over raw spans that ended in the range, a row for `each` item of an array; spans are kept a week."""
    source = _joined("spans AS t FINAL", each)
    return _selected(columns, source, "$__timeFilter(t.end)", chosen(), where, rest=rest)


def _selected(columns: Sequence[str], source: str, *conditions: str, rest: str) -> str:
    where = "\n  AND ".join(conditions)
    return f"SELECT {', '.join(columns)}\nFROM {source}\nWHERE {where}\n{rest}"
