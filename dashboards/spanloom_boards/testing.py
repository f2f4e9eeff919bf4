"""What Grafana and its ClickHouse plugin make of a query before ClickHouse sees it.

Read in the plugin's public sources, release 4.20: `src/data/CHDatasource.ts` (first `$__conditionalAll`, the last one
first, then variables) and `pkg/macros/macros.go` (then, on the server, time and interval macros). Formats of variables
are Grafana's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

_MACRO = re.compile(r"\$__(\w+)\b")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_ALL = "$__all"

Value = str | list[str]


@dataclass
class View:
    """What a person looks at: the time range (epoch s), a panel's interval (s), and the value of each variable.

    `options`: what a variable whose value is All stands for.
    """

    since: int
    until: int
    interval: int = 60
    values: dict[str, Value] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)


def expand(sql: str, view: View) -> str:
    """The statement that ClickHouse gets."""
    return _macros(_variables(_conditional(sql, view), view), view)


def _conditional(sql: str, view: View) -> str:
    macro = "$__conditionalAll("
    while (at := sql.rfind(macro)) >= 0:
        condition, name = _arguments(sql, at + len(macro) - 1)
        value = view.values.get(name.strip().removeprefix("$"), "")
        text = ",".join(value) if isinstance(value, list) else value
        written = f"{macro}{condition},{name})"
        assert written in sql, written
        sql = sql.replace(written, "1=1" if text in ("", _ALL) else condition, 1)
    return sql


def _arguments(sql: str, opening: int) -> list[str]:
    depth, begin, found = 0, opening + 1, []
    for at in range(opening, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if (sql[at] == "," and depth == 1) or depth == 0:
            found.append(sql[begin:at])
            begin = at + 1
        if depth == 0:
            return found
    raise AssertionError(f"a bracket is not closed: {sql[opening:]}")


def _variables(text: str, view: View) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if name not in view.values:
            assert name.startswith("__"), f"no variable is called {name}"
            return match[0]
        return formatted(view, name, match[2] or "")

    return _VARIABLE.sub(value, text)


def formatted(view: View, name: str, form: str) -> str:
    """The value of a variable in one of Grafana's formats."""
    value = view.values[name]
    chosen = view.options[name] if _ALL in value else value
    values = chosen if isinstance(chosen, list) else [chosen]
    if form == "singlequote":
        return ",".join("'" + each.replace("'", "\\'") + "'" for each in values)
    if form == "percentencode":
        assert isinstance(value, str), f"the values of {name} would come as one"
        return quote(value, safe="")
    if form == "queryparam":
        given = value if isinstance(value, list) else [value]
        return "&".join(f"var-{name}={quote_plus(each)}" for each in given)
    assert form == "", f"the format {form} is not needed here"
    return "'" + "','".join(chosen) + "'" if isinstance(chosen, list) else chosen  # as the plugin formats arrays


def _macros(sql: str, view: View) -> str:
    """As `pkg/macros`; a macro that is not there is an error, as ClickHouse's answer to it would be."""
    done, at = [], 0
    while match := _MACRO.search(sql, at):
        arguments, end = [], match.end()
        if match[1] in _WITH_ARGUMENTS:
            assert sql[end] == "(", f"{match[0]} needs an argument"
            arguments = [each.strip() for each in _arguments(sql, end)]
            end = sql.index(")", end + sum(map(len, arguments))) + 1
        done += [sql[at : match.start()], _macro(match[1], arguments, view)]
        at = end
    return "".join([*done, sql[at:]])


_WITH_ARGUMENTS = {"timeFilter", "timeInterval"}


def _macro(name: str, arguments: list[str], view: View) -> str:
    since, until = f"toDateTime({view.since})", f"toDateTime({view.until})"
    match name, arguments:
        case "fromTime", []:
            return since
        case "toTime", []:
            return until
        case "interval_s", []:
            return str(max(view.interval, 1))
        case "timeFilter", [column]:
            return f"{column} >= {since} AND {column} <= {until}"
        case "timeInterval", [column]:
            return f"toStartOfInterval(toDateTime({column}), INTERVAL {max(view.interval, 1)} second)"
    raise AssertionError(f"the plugin has no macro $__{name} with {len(arguments)} arguments that is used here")


def opened(board: dict[str, Any], view: View, ask: Callable[[str], list[str]]) -> View:
    """`view` with the board's variables as it opens: what their queries answer (`ask`), and of it All or the first."""
    for variable in board["templating"]["list"]:
        name, kind = variable["name"], variable["type"]
        if kind == "query" and "rawSql" in variable["query"]:
            view.options[name] = ask(expand(variable["query"]["rawSql"], view))
            assert view.options[name], f"the variable {name} has no values"
            view.values[name] = [_ALL] if variable["includeAll"] else view.options[name][0]
        elif kind in ("custom", "textbox"):
            view.values[name] = variable["current"]["value"]
    return view


def targets(board: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every panel with each of its queries."""
    return [(panel, target) for panel in board["panels"] for target in panel.get("targets", ())]
