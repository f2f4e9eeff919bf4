"""Lists of traces, alerts and rows as tables in the terminal. Text from data is cleaned and never read as markup."""

import json
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spanloom_viewer import wording
from spanloom_viewer.export import plain
from spanloom_viewer.model import Alert, Answer, Trace

_STATES = {"firing": 0, "pending": 1, "resolved": 2}
_STYLES = {"firing": "bold red", "pending": "yellow", "resolved": "green"}


def traces(found: Sequence[Trace]) -> Table:
    """One line a trace, in the order given."""
    table = _table("trace", "started", "service", "name", "took", "spans", "tokens", "cost", "")
    for trace in found:
        table.add_row(
            wording.clean(trace.trace_id, 32),
            wording.moment(trace.start).removesuffix(" UTC"),
            wording.clean(trace.service, 24),
            wording.clean(trace.name, 40),
            wording.duration(trace.duration),
            wording.count(trace.spans),
            f"{wording.count(trace.input_tokens)}→{wording.count(trace.output_tokens)}",
            wording.dollars(trace.cost),
            _troubles(trace),
        )
    return table


def _troubles(trace: Trace) -> Text:
    troubles = Text()
    if trace.status == "error" or trace.errors:
        troubles.append(f"✗ {trace.errors} ", style="bold red")
    if trace.blocks:
        troubles.append(f"⊘ {wording.clean(trace.block_reason or '', 40)} ", style="bold yellow")
    if trace.state != "complete":
        troubles.append(wording.clean(trace.reason or trace.state, 40), style="yellow")
    return troubles


def alerts(found: Sequence[Alert]) -> RenderableType:
    """One block an alert: firing ones first, then pending, then resolved; the youngest first among equals."""
    ordered = sorted(found, key=lambda alert: (_STATES.get(alert.state, 3), -alert.since, alert.rule, alert.group))
    return Group(*(_alert(alert) for alert in ordered))


def _alert(alert: Alert) -> Text:
    group = ", ".join(f"{wording.clean(key, 40)}={wording.clean(value, 60)}" for key, value in alert.group)
    window = f"{wording.moment(alert.window_start * 1_000_000)} to {wording.moment(alert.window_end * 1_000_000)[11:]}"
    text = Text.assemble(
        (f"{alert.state:8} ", _STYLES.get(alert.state, "")),
        (wording.clean(alert.rule, 80), "bold"),
        f" {wording.clean(alert.severity, 20)}",
        f"  {group}" if group else "",
        f"\n         {amount(alert.value, alert.unit)} against {amount(alert.threshold, alert.unit)}, in {window}",
        ("  partial: a source partition was behind" if alert.partial else "", "yellow"),
    )
    if alert.trace_ids:
        text.append(f"\n         worst traces: {' '.join(wording.clean(one, 32) for one in alert.trace_ids)}", "dim")
    return text


def amount(value: float | None, unit: str) -> str:
    """A rule's value in its unit: dollars, dollars/min, seconds, a ratio as per cent; any other stands after the number."""
    if value is None:
        return "no value"
    if unit.startswith("dollars"):
        return f"${value:,.4g}{wording.clean(unit.removeprefix('dollars'), 20)}"
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if unit == "seconds":
        return wording.duration(round(value * 1e9))
    return f"{value:,.6g} {wording.clean(unit, 20)}".rstrip()


def answer(found: Answer, limit: int) -> RenderableType:
    """Columns and the first `limit` rows as they came, and how many more there are."""
    table = _table(*(wording.clean(column, 60) for column in found.columns))
    for row in found.rows[:limit]:
        table.add_row(*(_cell(value) for value in row))
    for column, values in zip(table.columns, zip(*found.rows, strict=True), strict=False):
        if all((isinstance(value, int | float) and not isinstance(value, bool)) or value is None for value in values):
            column.justify = "right"
    if len(found.rows) <= limit:
        return table
    return Group(table, Text(f"{len(found.rows) - limit:,} more rows; --json and --csv write them all", style="yellow"))


def _cell(value: object) -> Text:
    value = plain(value)
    if value is None:
        return Text("null", style="dim")
    return Text(wording.clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 400))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table
