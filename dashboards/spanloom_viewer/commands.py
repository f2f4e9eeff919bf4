"""The subcommands that read: `spanloom trace`, `traces`, `explain`, `logs`, `alerts`, `sql`."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from spanloom_viewer.asking import asking, console, limit, since

if TYPE_CHECKING:
    from spanloom_traces.logs import Level
    from spanloom_traces.traces import Order

_SHOWN_ROWS = 1000


@click.command()
@click.argument("trace_id", metavar="ID")
def trace(trace_id: str) -> None:
    """Show the trace ID as a waterfall: what each span took, used and cost, and the critical path.

    ID is the trace's 32 hexadecimal digits, as alerts, `spanloom traces` and the traceparent header carry them.
    """
    from spanloom_viewer.waterfall import waterfall

    with asking() as store:
        found = store.get_trace(trace_id)
    screen = console()
    screen.print(waterfall(found.summary, found.tree, screen.width))


@click.command()
@click.option("--errors", is_flag=True, help="Only traces with a span in error.")
@click.option("--slow", "order", flag_value="slow", help="The slowest first.")
@click.option("--costly", "order", flag_value="costly", help="The costliest first.")
@click.option("--query", default="", metavar="FILTER", help="Only traces that FILTER finds.")
@limit(20)
@since("1h")
def traces(errors: bool, order: "Order | None", query: str, limit: int, since: timedelta) -> None:
    """List traces, the latest first.

    FILTER joins comparisons by AND: "service = 'chat' AND duration > 2 AND model LIKE 'gpt-4%'". It may name texts
    (service, name, environment, tenant, user, session_id, request_id, experiment, run_id, prompt_id, prompt_version,
    model, state, status, block_reason …), numbers (duration and ttft in seconds, cost in dollars, tokens, input_tokens,
    output_tokens, context_tokens, spans, errors, blocks …), scores.NAME, and span.attributes.NAME: of any of its spans.
    """
    from spanloom_viewer import tables

    wanted = " AND ".join(part for part in (query.strip(), "errors > 0" if errors else "") if part)
    with asking() as store:
        found = store.query(wanted, since=since, order=order or "recent", limit=limit)
    if not found:
        click.echo("no such trace began in that time; look further back with --since 1d")
        return
    console().print(tables.traces(found))


@click.command()
@click.argument("trace_id", metavar="ID")
def explain(trace_id: str) -> None:
    """Say why the trace ID went as it did: what stands out first, the guilty spans by name.

    Then all that tells why an answer was wrong: documents with their scores, the segments of the prompt, parameters of
    the model, failures of tools, blocks.
    """
    from spanloom_viewer.explanation import explanation

    with asking() as store:
        found = store.explain(trace_id)
    console().print(explanation(found))


@click.command()
@click.argument("trace_id", metavar="ID")
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The lowest level to show.",
)
def logs(trace_id: str, level: "Level") -> None:
    """Show what happened in the trace ID by time: events of its spans, errors and blocks."""
    from spanloom_viewer import tables

    with asking() as store:
        found = store.logs(trace_id, level)
    if not found:
        click.echo(f"nothing happened in it at level {level}; --level debug shows when its spans began and ended")
        return
    console().print(tables.logs(found))


@click.command()
@since("1h")
def alerts(since: timedelta) -> None:
    """List alerts: firing ones first, then pending, then those resolved since then."""
    from spanloom_viewer import tables

    with asking() as store:
        found = store.alerts(since=since)
    if not found:
        click.echo("nothing is firing, nothing was resolved in that time")
        return
    console().print(tables.alerts(found))


@click.command()
@click.argument("statement", metavar="STATEMENT")
@click.option("--json", "form", flag_value="json", help="One JSON object a row.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header, safe to open in a spreadsheet.")
def sql(statement: str, form: str | None) -> None:
    """Ask the database STATEMENT, in ClickHouse's SQL. Nothing can be changed by it.

    `spanloom sql "SHOW TABLES"` lists tables and views; `-` reads the statement from standard input.
    """
    from spanloom_viewer import export, tables

    if statement == "-":
        statement = sys.stdin.read()
    with asking() as store:
        answer = store.answer(statement.strip().rstrip(";"))
    if form == "json":
        click.echo(export.json_lines(answer), nl=False)
    elif form == "csv":
        click.echo(export.csv_text(answer), nl=False)
    else:
        screen = console()
        screen.print(tables.answer(answer, _SHOWN_ROWS, screen))
