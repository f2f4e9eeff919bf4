"""Lists of traces, alerts and rows as tables in the terminal. Text from data is cleaned and never read as markup."""

import json
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from spanloom_traces.logs import LogRecord
from spanloom_traces.model import Alert, Answer, Trace

from spanloom_viewer import wording
from spanloom_viewer.export import plain

_UNBOUNDED = 100_000  # columns: as wide as a table likes to be
_STATES = {"firing": 0, "pending": 1, "resolved": 2}
_LEVELS = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
_STYLES = {"firing": "bold red", "pending": "yellow", "resolved": "green"}


def traces(found: Sequence[Trace]) -> Table:
    """One line a trace, in the order given; a narrow terminal cuts the columns on the right."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column, width in (("trace", 32), ("started, UTC", 14), ("took", 7), ("cost", 11)):
        table.add_column(
            column, min_width=width, no_wrap=True, justify="right" if column in ("took", "cost") else "left"
        )
    for column in ("service, name", "", "tokens", "spans"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for trace in found:
        table.add_row(
            wording.clean(trace.trace_id, 32),
            wording.moment(trace.start)[5:19],
            wording.duration(trace.duration),
            wording.dollars(trace.cost, trace.unpriced),
            Text(f"{wording.clean(trace.service, 24)}  {wording.clean(trace.name, 40)}"),
            _troubles(trace),
            f"{wording.count(trace.input_tokens)}→{wording.count(trace.output_tokens)}",
            wording.count(trace.spans),
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


def logs(found: Sequence[LogRecord]) -> Table:
    """One line a record, in the order given."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in ("time", "level", "service, span"):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for record in found:
        attributes = "  ".join(
            f"{wording.clean(key, 60)}={wording.clean(value)}" for key, value in record.attributes.items()
        )
        table.add_row(
            Text(wording.moment(record.time)[11:23], "dim"),
            Text(record.level, _LEVELS[record.level]),
            Text(f"{wording.clean(record.service, 24)}  {wording.clean(record.span, 40)}"),
            Text.assemble(wording.clean(record.message), ("  " + attributes if attributes else "", "dim")),
        )
    return table


def alerts(found: Sequence[Alert]) -> RenderableType:
    """One block an alert: firing ones first, then pending, then resolved; the youngest first among equals."""
    ordered = sorted(found, key=lambda alert: (_STATES.get(alert.state, 3), -alert.since, alert.rule, alert.group))
    return Group(*(_alert(alert) for alert in ordered))


def _alert(alert: Alert) -> Text:
    group = ", ".join(f"{wording.clean(key, 40)}={wording.clean(value, 60)}" for key, value in alert.group)
    window = wording.duration((alert.window_end - alert.window_start) * 1_000_000)
    text = Text.assemble(
        (f"{alert.state:8} ", _STYLES.get(alert.state, "")),
        (wording.clean(alert.rule, 80), "bold"),
        f" {wording.clean(alert.severity, 20)}",
        f"  {group}" if group else "",
        f"\n         {amount(alert.value, alert.unit)} against {amount(alert.threshold, alert.unit)} in the {window}",
        f" until {wording.moment(alert.window_end * 1_000_000)[:19]} UTC",
        ("  partial: a source partition was behind" if alert.partial else "", "yellow"),
    )
    for trace_id in alert.trace_ids:
        text.append(f"\n         spanloom explain {wording.clean(trace_id, 32)}", "dim")
    return text


def amount(value: float | None, unit: str) -> str:
    """A rule's value in its unit: dollars, dollars/min, seconds, a ratio in per cent; others stand after the number."""
    if value is None:
        return "no value"
    if unit.startswith("dollars"):
        return f"${value:,.4g}{wording.clean(unit.removeprefix('dollars'), 20)}"
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if unit == "seconds":
        return wording.duration(round(value * 1e9))
    return f"{value:,.6g} {wording.clean(unit, 20)}".rstrip()


def answer(found: Answer, limit: int, console: Console) -> RenderableType:
    """The first `limit` rows as a table or, where it would not fit, a column a line; and how many more there are."""
    shown = _table(found, limit)
    if console.measure(shown, options=console.options.update(max_width=_UNBOUNDED)).maximum > console.width:
        shown = _vertical(found, limit)
    if len(found.rows) <= limit:
        return shown
    return Group(
        shown,
        Text(
            f"{wording.several(len(found.rows) - limit, 'more row')}; --json and --csv write them all", style="yellow"
        ),
    )


def _vertical(found: Answer, limit: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    rows = found.rows[:limit]
    for number, row in enumerate(rows, 1):
        if len(rows) > 1:
            grid.add_row(Text(f"row {number:,}", style="bold"))
        for column, value in zip(found.columns, row, strict=True):
            grid.add_row(Text(f"{wording.clean(column, 60)}:", style="dim"), _cell(value))
    return grid


def _table(found: Answer, limit: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1), show_edge=False)
    for column in found.columns:
        table.add_column(Text(wording.clean(column, 60)), overflow="fold")
    for row in found.rows[:limit]:
        table.add_row(*(_cell(value) for value in row))
    for shown, values in zip(table.columns, zip(*found.rows, strict=True), strict=False):
        if all((isinstance(value, int | float) and not isinstance(value, bool)) or value is None for value in values):
            shown.justify = "right"
    return table


def _cell(value: object) -> Text:
    value = plain(value)
    if value is None:
        return Text("null", style="dim")
    return Text(wording.clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 400))
