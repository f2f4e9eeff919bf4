"""A board: variables, annotations, links to the others, and rows of panels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spanloom_boards.links import SAVED, TRACES, to
from spanloom_boards.panels import CLICKHOUSE, Panel
from spanloom_boards.sql import FILTERS, WINDOWS, chosen_alerts

Board = dict[str, Any]
Variable = dict[str, Any]
SCHEMA_VERSION = 39
_ALL = {"selected": True, "text": ["All"], "value": ["$__all"]}


class Row(NamedTuple):
    """Panels beside each other under a heading, `height` grid units high."""

    title: str
    height: int
    panels: Sequence[Panel]


def board(
    uid: str,
    title: str,
    about: str,
    rows: Sequence[Row],
    variables: Sequence[Variable] = (),
    *,
    since: str = "now-3h",
    filtered: bool = True,
    annotated: bool = True,
) -> Board:
    """A board as Grafana's classic JSON. `filtered`: with the filters of all boards; `annotated`: with alerts."""
    known = [*(FILTERING if filtered else ()), *variables]
    carried = FILTERS if filtered else ()
    views = [_saved(view, name, carried) for view, name in SAVED.items() if DATASOURCE in known]
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["spanloom"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 2,
        "timezone": "",
        "time": {"from": since, "to": "now"},
        "refresh": "30s",
        "links": [_OTHERS, *views],
        "annotations": {"list": [ALERTS] if annotated else []},
        "templating": {"list": known},
        "panels": laid_out(rows),
    }


def laid_out(rows: Sequence[Row]) -> list[Panel]:
    """Panels with their ids and places; those of a row share its width."""
    placed: list[Panel] = []
    y = 0
    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append(heading | {"id": len(placed) + 1, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        width = 24 // len(row.panels)
        for n, panel in enumerate(row.panels):
            wide = 24 - width * n if n == len(row.panels) - 1 else width
            place = {"h": row.height, "w": wide, "x": width * n, "y": y + 1}
            placed.append({"id": len(placed) + 1, "gridPos": place, **panel})
        y += row.height + 1
    return placed


def _saved(view: str, name: str, carried: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "link", "title": name, "url": to(TRACES, name, *carried, view=view)["url"], "tags": [],
        "asDropdown": False, "includeVars": False, "keepTime": False, "targetBlank": False, "icon": "bolt",
        "tooltip": "",
    }  # fmt: skip


def source(name: str, label: str, plugin: str) -> Variable:
    """A choice of data source."""
    return {
        "type": "datasource", "name": name, "label": label, "query": plugin, "refresh": 1, "regex": "", "hide": 0,
        "multi": False, "includeAll": False, "current": {}, "options": [],
    }  # fmt: skip


def query(name: str, label: str, sql: str, *, multi: bool = True, everything: bool = True) -> Variable:
    """A choice of what a query answers, asked again when the time range changes."""
    return {
        "type": "query", "name": name, "label": label, "datasource": CLICKHOUSE,
        "query": {"editorType": "sql", "rawSql": sql, "refId": name}, "refresh": 2, "regex": "", "sort": 1, "hide": 0,
        "multi": multi, "includeAll": everything, "current": _ALL if everything else {}, "options": [],
    }  # fmt: skip


def choice(name: str, label: str, values: dict[str, str]) -> Variable:
    """A choice of fixed values by their names; the first is chosen."""
    options = [{"selected": not n, "text": text, "value": value} for n, (text, value) in enumerate(values.items())]
    written = ", ".join(f"{text} : {value}" for text, value in values.items())
    return {
        "type": "custom", "name": name, "label": label, "query": written, "multi": False, "includeAll": False,
        "hide": 0, "current": options[0], "options": options,
    }  # fmt: skip


def typed(name: str, label: str, about: str = "") -> Variable:
    """A text that a person types."""
    return {
        "type": "textbox", "name": name, "label": label, "description": about, "query": "", "hide": 0,
        "current": {"selected": True, "text": "", "value": ""},
        "options": [{"selected": True, "text": "", "value": ""}],
    }  # fmt: skip


DATASOURCE = source("datasource", "ClickHouse", "grafana-clickhouse-datasource")
FILTERING = (
    DATASOURCE,
    query(
        "environment",
        "Environment",
        f"SELECT DISTINCT t.environment FROM {WINDOWS}\nWHERE t.environment != '' ORDER BY 1",
    ),
    query(
        "service",
        "Service",
        f"SELECT DISTINCT t.service FROM {WINDOWS}\n"
        "WHERE $__conditionalAll(t.environment IN (${environment:singlequote}), $environment) ORDER BY 1",
    ),
    query("tenant", "Tenant", f"SELECT DISTINCT t.tenant FROM {WINDOWS}\nWHERE t.tenant != '' ORDER BY 1"),
)

_OTHERS = {
    "type": "dashboards", "title": "Spanloom", "tags": ["spanloom"], "asDropdown": True, "includeVars": True,
    "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": "",
}  # fmt: skip

FIRED = f"""SELECT assumeNotNull(a.fired) AS time, ifNull(a.resolved, now64(3)) AS timeEnd,
    concat(a.rule, ' (', a.severity, ')') AS title, a.summary AS text,
    arrayStringConcat(mapValues(a.labels), ',') AS tags
FROM alerts_now AS a
WHERE a.fired IS NOT NULL AND a.fired <= $__toTime AND ifNull(a.resolved, now64(3)) >= $__fromTime
  AND {chosen_alerts()}
ORDER BY time"""
ALERTS = {
    "name": "Alerts", "datasource": CLICKHOUSE, "enable": True, "hide": False, "iconColor": "red",
    "target": {"editorType": "sql", "format": 1, "rawSql": FIRED, "refId": "annotation"},
}  # fmt: skip
