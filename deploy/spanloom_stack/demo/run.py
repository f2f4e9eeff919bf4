"""The demo from start to end."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import click
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.live import Live
from rich.text import Text
from spanloom_schemas.prices.book import Book
from spanloom_schemas.settings import read
from spanloom_sinks.settings import VerifySettings
from spanloom_sinks.verify import printing
from spanloom_sinks.verify.run import verify
from spanloom_traces import NotThere, StoreError, TraceStore
from spanloom_traces.connection import connect
from spanloom_viewer.settings import ViewerSettings
from spanloom_viewer.waterfall import waterfall

from spanloom_stack.demo import checks, pager, services
from spanloom_stack.demo.checks import Verdict
from spanloom_stack.demo.incidents import INCIDENTS
from spanloom_stack.demo.live import View, changes, page
from spanloom_stack.demo.pager import Pager
from spanloom_stack.demo.reading import Load, panes
from spanloom_stack.line import Line
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Supervisor

RULES = Path(__file__).with_name("rules.yaml")
_SETTLE = 60.0  # seconds that what is on its way may take to be stored, at most
_LOGS = {
    "spans": ("rag-chat.log", "rag-agent.log", "sink.log"),
    "asked": ("load.log", "rag-chat.log", "gateway.log"),
    "traces": ("processor-1.log", "sink.log"),
    "latency": ("processor-1.log", "sink.log"),
    "cost": ("sink.log",),
    "page": ("processor-1.log", "load.log"),
    "cause": ("processor-1.log", "sink.log"),
}
_EVERY = 10.0  # seconds between lines where there is no terminal


def run(console: Console, folder: Path, seconds: float, otlp: Path | None = None) -> bool:
    """Run the demo with its state in `folder`; whether every check held. Leaves nothing running.

    `otlp`: the virtual environment of an application that knows OpenTelemetry alone, watched through the gateway.
    """

    def report(line: str) -> None:
        console.print(f"[yellow]{line}", soft_wrap=True)

    logs = folder / "logs"
    with pager.running() as (paged, url), Supervisor(logs, report) as stack:
        begun = int(time.time())
        environment = _start(console, folder, url, stack)
        with _reading(environment) as (store, client):
            example = services.example(environment, otlp)
            with Supervisor(logs, report) as people:
                people.start(*example.services)
                people.start(services.load(example.chat, example.agent, seconds))
                load = Load(logs / "load.log")
                _watch(console, stack, View(seconds, load, paged.arrivals), client)
            _show_worst(console, store, paged)
            checked = partial(_verdicts, store, client, Book.load(), load, paged, otlp is not None)
            held = _check(console, checked, logs)
            held = _verify(console, environment, begun) and held
        if held and console.is_terminal:
            _serve(console, logs, stack, environment, otlp)
    return held


def _start(console: Console, folder: Path, pager_url: str, stack: Supervisor) -> dict[str, str]:
    settings = StackSettings(
        stack_data=str(folder), stack_cache=read(StackSettings).stack_cache, kafka_port=0, clickhouse_port=0
    )
    environment = {
        **os.environ,
        "SPANLOOM_RULES_FILE": str(RULES),
        "SPANLOOM_ALERTMANAGER_URL": pager_url,
        "SPANLOOM_METRICS_PORT": "0",
        "SPANLOOM_SINK_METRICS_PORT": "0",
    }
    begun = time.monotonic()
    with _steps(console) as step:
        line = Line.start(settings, environment, stack, step)
    console.print(
        f"broker, engine, processors, sink and pager are up after {time.monotonic() - begun:.1f} s; to look around in "
        f"another terminal:\n  export SPANLOOM_CLICKHOUSE_URL={line.environment['SPANLOOM_CLICKHOUSE_URL']}",
        soft_wrap=True,
    )
    return line.environment


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str], None]]:
    """What to call with each step of the start: a spinner on a terminal, else a line for each kind of step."""
    if console.is_terminal:
        with console.status("starting …") as status:
            yield status.update
        return
    said = set()

    def line(step: str) -> None:
        kind = step.rstrip("0123456789/ ")
        if kind not in said:
            said.add(kind)
            console.print(kind, soft_wrap=True)

    yield line


def _watch(console: Console, stack: Supervisor, view: View, client: Client) -> None:
    """Show what happens until the load has ended."""
    began, since = time.monotonic(), int(time.time()) // 10 * 10
    every, due = 1.0 if console.is_terminal else _EVERY, 0.0

    def ended() -> bool:
        nonlocal due
        view.elapsed = time.monotonic() - began
        if view.elapsed < due:
            return False
        due = view.elapsed + every
        view.load.update()
        view.panes = panes(client, "rag-chat", since)
        show()
        if view.elapsed > view.seconds + _SETTLE:
            raise click.ClickException(f"the load did not end; see {view.load.log}")
        return view.load.ended

    with _shown(console, view) as show:
        stack.watch(until=ended)


@contextmanager
def _shown(console: Console, view: View) -> Iterator[Callable[[], None]]:
    """What to call when the view has changed: a live screen on a terminal, else a line for it and one for each page."""
    if console.is_terminal:
        with Live(view, console=console, auto_refresh=False, transient=True) as live:
            yield live.refresh
        console.print(view)
        return
    said = 0

    def lines() -> None:
        nonlocal said
        console.print(view.line(), soft_wrap=True)
        news = changes(view.arrivals)
        for arrival in news[said:]:
            console.print(page(arrival), soft_wrap=True)
        said = len(news)

    yield lines


@contextmanager
def _reading(environment: dict[str, str]) -> Iterator[tuple[TraceStore, Client]]:
    """The store, and a client for what only the demo asks; what cannot be read is said in one line."""
    settings = read(ViewerSettings, environment)
    try:
        with TraceStore(settings) as store, connect(settings) as client:
            yield store, client
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _show_worst(console: Console, store: TraceStore, paged: Pager) -> None:
    """Print the waterfall of the worst trace of the first page that carries one."""
    for arrival in paged.arrivals:
        for trace_id in checks.worst(arrival)[:1]:
            with suppress(NotThere):
                found = store.get_trace(trace_id)
                rule = arrival.alert.labels["alertname"]
                console.print(f"\nthe worst trace that {rule} paged: spanloom explain {trace_id}\n", soft_wrap=True)
                console.print(waterfall(found.summary, found.tree, console.width))
                return


def _check(console: Console, checked: Callable[[], list[tuple[str, Verdict]]], logs: Path) -> bool:
    """Check everything, again until all holds or no more time is given to what is on its way; print the verdicts."""
    begun = time.monotonic()
    with console.status("waiting until everything is stored …"):
        while True:
            verdicts = checked()
            if all(one.holds for _, one in verdicts) or time.monotonic() - begun > _SETTLE:
                break
            time.sleep(1)
    console.print()
    for title, verdict in verdicts:
        sign = ("✓ ", "green") if verdict.holds else ("✗ ", "bold red")
        console.print(Text.assemble(sign, (f"{title:<10}", "bold"), verdict.text), soft_wrap=True)
    held = all(one.holds for _, one in verdicts)
    for title in dict.fromkeys(title for title, verdict in verdicts if not verdict.holds):
        console.print(f"  {title}: look into {' and '.join(str(logs / name) for name in _LOGS[title])}", soft_wrap=True)
    return held


def _verify(console: Console, environment: dict[str, str], since: int) -> bool:
    """What `spanloom verify` says of the demo: its outcome in one line, and all of it where something is wrong."""
    with console.status("verifying every row …"):
        report = verify(read(VerifySettings, environment), since, None)
    if report.exact:
        console.print(printing.outcome(report), soft_wrap=True)
    else:
        printing.show(report, console)
    return report.exact


def _verdicts(
    store: TraceStore, client: Client, book: Book, load: Load, paged: Pager, by_otlp: bool
) -> list[tuple[str, Verdict]]:
    guilty = [(one, one.guilty_by_otlp if by_otlp else one.guilty) for one in INCIDENTS]
    return [
        ("spans", checks.ledger(client)),
        *([("asked", checks.asked(client, load))] if by_otlp else ()),  # the application keeps no ledger itself
        ("traces", checks.traces(client)),
        ("latency", checks.quantiles(client)),
        ("cost", checks.cost(client, book)),
        *(("page", checks.page(client, incident, load, paged)) for incident in INCIDENTS),
        *(("cause", checks.cause(store, incident, name, paged)) for incident, name in guilty if name is not None),
    ]


def _serve(console: Console, logs: Path, stack: Supervisor, environment: dict[str, str], otlp: Path | None) -> None:
    """Keep the line and the example running until Ctrl-C."""
    with Supervisor(logs) as people:
        example = services.example(environment, otlp)
        people.start(*example.services)
        console.print(
            f"\nall of it keeps running until Ctrl-C; look around in another terminal:\n\n"
            f"  export SPANLOOM_CLICKHOUSE_URL={environment['SPANLOOM_CLICKHOUSE_URL']}\n"
            f"  spanloom alerts; spanloom explain ID; spanloom traces --slow; spanloom compare ID ID\n"
            f"  spanloom sql 'SELECT * FROM services_1m'\n\n"
            f"or ask a question of your own and look at its trace:\n\n"
            f'  curl -s {example.chat}/chat -d \'{{"question": "How do I sort a graph?"}}\'\n',
            soft_wrap=True,
        )
        try:
            stack.watch(until=lambda: False)
        except KeyboardInterrupt:
            console.print("stopping")
