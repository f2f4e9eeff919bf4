"""Runs, and two of them side by side, as tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from spanloom_traces.compare import Comparison, Difference, Value
from spanloom_traces.runs import Run

from spanloom_viewer import wording

_SCORE = "score."


def runs(found: Sequence[Run]) -> Table:
    """One line a run, in the order given; scores that any of them has are columns of their own."""
    scores = sorted({name for run in found for name in run.metrics if name.startswith(_SCORE)})
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", no_wrap=True, min_width=8, overflow="ellipsis")
    table.add_column("started, UTC", no_wrap=True)
    for column in ("requests", "p50", "p95", "$/request", "errors", "tokens/request"):
        table.add_column(column, no_wrap=True, justify="right")
    for score in scores:
        table.add_column(Text(wording.clean(score.removeprefix(_SCORE), 24)), no_wrap=True, justify="right")
    table.add_column("model", overflow="fold")
    prompts = any(run.run_id != _version(run, "@") for run in found)
    if prompts:
        table.add_column("prompt", overflow="fold")
    for run in found:
        table.add_row(
            Text(wording.clean(run.run_id, 60)),
            wording.moment(run.start)[:16],
            wording.count(round(run.metrics["requests"])),
            *(wording.duration(round(1e6 * run.metrics[f"latency_ms_{q}"])) for q in ("p50", "p95")),
            _cost(run),
            f"{100 * run.metrics['error_rate']:.3g} %",
            f"{run.metrics['tokens_per_request']:,.0f}",
            *(_plain(run.metrics.get(score)) for score in scores),
            Text(wording.clean(run.params.get("llm.model", ""), 60)),
            *([Text(wording.clean(_version(run, " v"), 60))] if prompts else []),
        )
    return table


def comparison(found: Comparison, *, everything: bool) -> RenderableType:
    """A line a value that differs, or `everything`, under what it is about; numbers with their change."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(found.kind)
    for name in (found.a, found.b):
        table.add_column(Text(wording.clean(name, 40)), justify="right", overflow="fold")
    table.add_column("change", justify="right", no_wrap=True)
    shown = [one for one in found.values if everything or one.differs]
    about = ""
    for one in shown:
        if one.about != about:
            about = one.about
            table.add_row(Text(about, style="dim"))
        row = (Text(f"  {wording.clean(one.name, 60)}"), _value(one.a), _value(one.b), _change(one))
        table.add_row(*row, style="" if one.differs else "dim")
    if len(shown) == len(found.values):
        return table
    same = wording.several(len(found.values) - len(shown), "more value")
    return Group(table, Text(f"the same: {same}; --all shows them", "dim"))


def _cost(run: Run) -> str:
    if (cost := run.metrics.get("cost_usd")) is not None:
        return wording.dollars(round(1e9 * cost))
    return "unknown"


def _version(run: Run, joint: str) -> str:
    prompt, version = run.params.get("prompt.id", ""), run.params.get("prompt.version", "")
    return f"{prompt}{joint}{version}" if prompt else ""


def _value(value: Value) -> Text:
    if isinstance(value, str):
        return Text(wording.clean(value, 80))
    return Text(_plain(value), style="dim" if value is None else "")


def _change(one: Difference) -> Text:
    if one.change is None or not one.differs:
        return Text("" if not one.differs else "≠")
    share = "" if one.ratio is None else f"  {100 * one.ratio:+.3g} %"
    return Text(f"{_plain(one.change, sign='+')}{share}", style="bold")


def _plain(number: Value, sign: str = "") -> str:
    if not isinstance(number, int | float):
        return "–"
    return f"{number:{sign},.0f}" if number == round(number) else f"{number:{sign},.4g}"
