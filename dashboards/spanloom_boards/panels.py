"""Panels: each a title, what it means, a unit, thresholds, where its traces are, and its queries."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spanloom_boards import limits, links
from spanloom_boards.links import Link

Panel = dict[str, Any]
CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "${datasource}"}
PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
_SERIES, _TABLE, _TRACES = 0, 1, 3
"""What the plugin makes of a query's rows (its `format`)."""


class Column(NamedTuple):
    """A column of a table: its name in the query, its heading, its unit, what colours it, where a click leads."""

    name: str
    title: str
    unit: str = "none"
    thresholds: dict[str, Any] | None = None
    link: Link | None = None
    width: int | None = None
    decimals: int | None = None


PROMPT = (Column("prompt_id", "Prompt"), Column("prompt_version", "Version"))
"""A version of a prompt."""


def trace_id(name: str, title: str) -> Column:
    """A column of trace ids; a click opens the trace."""
    return Column(name, title, link=links.TRACE, width=290)


def target(sql: str, form: int = _TABLE, ref: str = "A") -> dict[str, Any]:
    """A query of ClickHouse."""
    return {"datasource": CLICKHOUSE, "editorType": "sql", "format": form, "rawSql": sql, "refId": ref}


def stat(
    title: str,
    about: str,
    unit: str,
    sql: str,
    link: Link,
    thresholds: dict[str, Any] = limits.NONE,
    *,
    columns: Sequence[Column] = (),
    decimals: int | None = None,
) -> Panel:
    """One number, or a few: the columns of the query's only row; `columns`: what is other for some of them."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/", "values": False},
        "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
    }  # fmt: skip
    defaults = _defaults(unit, thresholds, [link]) | ({} if decimals is None else {"decimals": decimals})
    panel = _panel("stat", title, about, [target(sql)], defaults, options)
    panel["fieldConfig"]["overrides"] = [_override(column.name, _properties(column)) for column in columns]
    return panel


def series(
    title: str,
    about: str,
    unit: str,
    sql: str,
    link: Link,
    thresholds: dict[str, Any] = limits.NONE,
    *,
    name: str = "",
    stacked: bool = False,
    dashed: Sequence[str] = (),
) -> Panel:
    """Lines over time. `name`: what a series is called, by its labels; `dashed`: columns that are a baseline."""
    custom: dict[str, Any] = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if stacked else 8, "showPoints": "auto",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if len(thresholds["steps"]) > 1 else "off"},
    }  # fmt: skip
    defaults = _defaults(unit, thresholds, [link]) | {"custom": custom, "color": {"mode": "palette-classic"}}
    if name:
        defaults["displayName"] = name
    line = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}
    plain = {"id": "custom.fillOpacity", "value": 0}
    panel = _panel("timeseries", title, about, [target(sql, _SERIES)], defaults, _LINES)
    panel["fieldConfig"]["overrides"] = [_override(column, [line, plain]) for column in dashed]
    return panel


_LINES = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def table(title: str, about: str, columns: Sequence[Column], sql: str, row: Link) -> Panel:
    """Rows; a click on any cell leads to `row`, on a cell of a column that has a link there."""
    defaults = _defaults("none", limits.NONE, [row])
    defaults["custom"] = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    options = {"showHeader": True, "cellHeight": "sm"}
    panel = _panel("table", title, about, [target(sql)], defaults, options)
    coloured = {"id": "custom.cellOptions", "value": {"type": "color-text"}}
    panel["fieldConfig"]["overrides"] = [
        _override(column.name, [*_properties(column), *([coloured] if column.thresholds else [])]) for column in columns
    ]
    return panel


def bars(
    title: str, about: str, unit: str, sql: str, link: Link, thresholds: dict[str, Any] = limits.NONE, **more: Any
) -> Panel:
    """A bar for each row: its first column names it, the second is its length."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": True, "limit": 20},
        "displayMode": "basic", "orientation": "horizontal", "valueMode": "color", "showUnfilled": True,
        "minVizWidth": 0, "minVizHeight": 16,
    }  # fmt: skip
    return _panel("bargauge", title, about, [target(sql)], _defaults(unit, thresholds, [link]) | more, options)


def heatmap(title: str, about: str, unit: str, sql: str, link: Link) -> Panel:
    """Counts over time; each column of the query is a bucket, named by its upper bound in `unit`."""
    options = {
        "calculate": False,
        "rowsFrame": {"layout": "le", "value": "requests"},
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange", "steps": 64,
                  "reverse": False, "scale": "exponential"},
        "cellGap": 1,
        "filterValues": {"le": 1e-9},
        "yAxis": {"axisPlacement": "left", "unit": unit},
        "legend": {"show": True},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "showValue": "never",
    }  # fmt: skip
    return _panel("heatmap", title, about, [target(sql, _SERIES)], _defaults(unit, limits.NONE, [link]), options)


def timeline(title: str, about: str, sql: str, link: Link, states: dict[str, tuple[str, str]], name: str) -> Panel:
    """Bands over time; `states`: text and colour of each value."""
    defaults = _defaults("none", limits.NONE, [link]) | {"displayName": name}
    mapped = {
        value: {"text": text, "color": colour, "index": n} for n, (value, (text, colour)) in enumerate(states.items())
    }
    defaults |= {
        "mappings": [{"type": "value", "options": mapped}],
        "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": True},
    }
    options = {"mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8} | _LINES
    return _panel("state-timeline", title, about, [target(sql, _SERIES)], defaults, options)


def trace(title: str, about: str, sql: str) -> Panel:
    """Grafana's own view of one trace."""
    return _panel("traces", title, about, [target(sql, _TRACES)], {"unit": "ms", "thresholds": limits.NONE}, {})


def metric(
    title: str, about: str, unit: str, queries: dict[str, str], thresholds: dict[str, Any] = limits.NONE
) -> Panel:
    """Lines of Prometheus: by the name of each series (with `{{label}}`s) its expression."""
    panel = series(title, about, unit, "", {}, thresholds)
    panel["datasource"] = PROMETHEUS
    panel["fieldConfig"]["defaults"]["links"] = []
    panel["targets"] = [
        {"datasource": PROMETHEUS, "expr": expr, "legendFormat": name, "refId": chr(ord("A") + n), "range": True}
        for n, (name, expr) in enumerate(queries.items())
    ]
    return panel


def _panel(
    kind: str, title: str, about: str, targets: list[dict[str, Any]], defaults: dict[str, Any], options: dict[str, Any]
) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": CLICKHOUSE,
        "interval": "1m",  # the finest windows there are
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _defaults(unit: str, thresholds: dict[str, Any], leads: list[Link]) -> dict[str, Any]:
    return {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, "links": leads}


def _override(column: str, properties: list[dict[str, Any]]) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": column}, "properties": properties}


def _properties(column: Column) -> list[dict[str, Any]]:
    said: dict[str, Any] = {"displayName": column.title, "unit": column.unit}
    if column.thresholds:
        said |= {"thresholds": column.thresholds, "color": {"mode": "thresholds"}}
    if column.link:
        said["links"] = [column.link]
    if column.width:
        said["custom.width"] = column.width
    if column.decimals is not None:
        said["decimals"] = column.decimals
    return [{"id": name, "value": value} for name, value in said.items()]
