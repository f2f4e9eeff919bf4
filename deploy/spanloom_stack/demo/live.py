"""The demo's live view: a screen on a terminal, a line now and then elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spanloom_stack.demo.checks import worst
from spanloom_stack.demo.incidents import INCIDENTS
from spanloom_stack.demo.pager import Arrival
from spanloom_stack.demo.reading import Load, Pane

_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN_PANES = 18


@dataclass
class View:
    """Everything the live view shows."""

    seconds: float
    load: Load
    arrivals: Sequence[Arrival]
    elapsed: float = 0.0
    panes: Sequence[Pane] = ()

    def __rich__(self) -> RenderableType:
        """The screen."""
        return Group(self._clock(), Text(), self._figures(), Text(), self._incidents(), Text(), self._pages())

    def line(self) -> str:
        """The figures on one line."""
        if not self.panes:
            return f"{self.elapsed:3.0f} s  waiting for the first spans"
        figures = "  ".join(f"{name} {text}" for name, text, _ in _rows(self.panes))
        return f"{self.elapsed:3.0f} s  {figures}"

    def _clock(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        done = self.load.done
        said = f"{done.get('answered', 0)} answered, {done.get('blocked', 0)} blocked, {done.get('rated', 0)} rated"
        left = max(0, self.seconds - self.elapsed)
        bar = ProgressBar(total=self.seconds, completed=min(self.elapsed, self.seconds), width=30)
        grid.add_row(Text("spanloom demo", style="bold"), bar, f"{left:.0f} s left", Text(said, style="dim"))
        return grid

    def _figures(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for name, text, history in _rows(self.panes):
            grid.add_row(Text(name, style="dim"), Text(text, style="bold", justify="right"), spark(history))
        return grid

    def _incidents(self) -> RenderableType:
        return Group(*(self._incident(incident.name, incident.title) for incident in INCIDENTS))

    def _incident(self, name: str, title: str) -> Text:
        if name in self.load.over:
            return Text(f"✓ over     {title}", style="dim")
        if name in self.load.begun:
            return Text(f"● now      {title}", style="bold yellow")
        return Text(f"○ to come  {title}", style="dim")

    def _pages(self) -> RenderableType:
        lines = [page(one) for one in changes(self.arrivals)]
        return Group(Text("pages", style="dim"), *(lines or [Text("none yet", style="dim")]))


def _rows(panes: Sequence[Pane]) -> list[tuple[str, str, list[float]]]:
    """Name, latest value, history; the latest is of the last pane that is nearly full."""
    if not panes:
        return []
    shown = panes[-_SHOWN_PANES:]
    last = shown[-2] if len(shown) > 1 else shown[-1]
    return [
        ("requests/s", f"{last.requests / 10:.1f}", [pane.requests for pane in shown]),
        ("p50", _ms(last.p50), [pane.p50 or 0 for pane in shown]),
        ("p95", _ms(last.p95), [pane.p95 or 0 for pane in shown]),
        ("cost/min", _dollars(last), [pane.dollars or 0 for pane in shown]),
        (
            "blocked",
            "–" if last.blocked is None else f"{100 * last.blocked:.0f} %",
            [pane.blocked or 0 for pane in shown],
        ),
    ]


def _dollars(pane: Pane) -> str:
    if pane.dollars is None:
        return "unknown"
    return f"{'≥ ' if pane.unpriced else ''}${pane.dollars:.3f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def spark(values: Sequence[float]) -> str:
    """A bar a value, from zero to the highest."""
    top = max(values, default=0) or 1
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(value / top * len(_BLOCKS)))] for value in values)


def changes(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """The arrivals that say something new: an alert that fires, or one that is over; not those that are sent again."""
    known: dict[tuple[tuple[str, str], ...], bool] = {}
    news = []
    for arrival in arrivals:
        labels = tuple(sorted(arrival.alert.labels.items()))
        if known.get(labels) is not arrival.firing:
            known[labels] = arrival.firing
            news.append(arrival)
    return news


def page(arrival: Arrival) -> Text:
    """A page on one line; of one that fires also the command that names the guilty span."""
    at = datetime.fromtimestamp(arrival.at, UTC).strftime("%H:%M:%S")
    labels, notes = arrival.alert.labels, arrival.alert.annotations
    state = ("firing  ", "bold red") if arrival.firing else ("resolved", "green")
    text = Text.assemble((f"{at}  ", "dim"), state, f"  {labels['alertname']}  ", (notes.get("summary", ""), "dim"))
    for trace_id in worst(arrival)[:1] if arrival.firing else ():
        text.append(f"\n{'':20}spanloom explain {trace_id}")
    return text
