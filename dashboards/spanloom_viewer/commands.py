"""The subcommands that read: `spanloom trace`, `traces`, `alerts`, `sql`."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from spanloom_schemas import settings as environment

from spanloom_viewer.settings import ViewerSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHOWN_ROWS = 1000


class Period(click.ParamType):
    """A length of time such as 90s, 15m, 6h or 7d, in seconds."""

    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds, at most ten years."""
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if not found:
            self.fail(f"{value!r} is no period; write 90s, 15m, 6h or 7d", param, ctx)
        return min(int(found[1]) * _SECONDS[found[2]], 3650 * 86_400)


_since = click.option("--since", type=Period(), default="1h", show_default=True, help="How far back to look.")


@click.command()
@click.argument("trace_id", metavar="ID")
def trace(trace_id: str) -> None:
    """Show the trace ID as a waterfall: what each span took, used and cost, and the critical path.

    ID is the trace's 32 hexadecimal digits, as alerts, `spanloom traces` and the traceparent header carry them.
    """
    from spanloom_viewer import store
    from spanloom_viewer.waterfall import waterfall

    if not re.fullmatch(r"[0-9a-f]{32}", trace_id := trace_id.strip().lower()):
        raise click.UsageError("a trace id is 32 hexadecimal digits; spanloom traces lists the latest")
    with asking() as client:
        spans, summary = store.spans(client, trace_id), store.trace(client, trace_id)
    if not spans:
        raise click.ClickException(f"there is no trace {trace_id}; spanloom traces lists the latest")
    console = _console()
    console.print(waterfall(summary, spans, console.width))


@click.command()
@click.option("--errors", is_flag=True, help="Only traces with a span in error.")
@click.option("--slow", "order", flag_value="slow", help="The slowest first.")
@click.option("--costly", "order", flag_value="costly", help="The costliest first.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@_since
def traces(errors: bool, order: str | None, limit: int, since: int) -> None:
    """List traces, the latest first."""
    from spanloom_viewer import store, tables

    with asking() as client:
        found = store.traces(client, order or "recent", seconds=since, limit=limit, errors=errors)  # type: ignore[arg-type]
    if not found:
        click.echo("no such trace began in that time; look further back with --since 1d")
        return
    _console().print(tables.traces(found))


@click.command()
@_since
def alerts(since: int) -> None:
    """List alerts: firing ones first, then pending, then those resolved since then."""
    from spanloom_viewer import store, tables

    with asking() as client:
        found = store.alerts(client, seconds=since)
    if not found:
        click.echo("nothing is firing, nothing was resolved in that time")
        return
    _console().print(tables.alerts(found))


@click.command()
@click.argument("statement", metavar="STATEMENT")
@click.option("--json", "form", flag_value="json", help="One JSON object a row.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header, safe to open in a spreadsheet.")
def sql(statement: str, form: str | None) -> None:
    """Ask the database STATEMENT, in ClickHouse's SQL. Nothing can be changed by it.

    `spanloom sql "SHOW TABLES"` lists tables and views; `-` reads the statement from standard input.
    """
    from spanloom_viewer import export, store, tables

    if statement == "-":
        statement = sys.stdin.read()
    with asking() as client:
        answer = store.query(client, statement.strip().rstrip(";"))
    if form == "json":
        click.echo(export.json_lines(answer), nl=False)
    elif form == "csv":
        click.echo(export.csv_text(answer), nl=False)
    else:
        console = _console()
        console.print(tables.answer(answer, _SHOWN_ROWS, console))


@contextmanager
def asking() -> "Iterator[Client]":
    """A client; on a terminal something moves until the database has answered."""
    from spanloom_viewer import store

    settings = environment.read(ViewerSettings)
    with Console(stderr=True).status("asking ClickHouse …"), store.connect(settings) as client:
        yield client


def _console() -> Console:
    """As wide as the terminal; wide enough for tables where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=160)
