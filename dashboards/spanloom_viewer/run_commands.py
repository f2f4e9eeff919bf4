"""The subcommands about runs and prompt versions: `spanloom runs`, `compare`."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from spanloom_viewer.asking import asking, console, limit, since
from spanloom_viewer.wording import clean, several

if TYPE_CHECKING:
    from spanloom_traces.runs import Run


_filter = click.option("--filter", default="", metavar="FILTER", help="Only those that FILTER finds.")
_prompts = click.option("--prompts", is_flag=True, help="Versions of prompts instead of runs.")


@click.group(invoke_without_command=True)
@_filter
@_prompts
@limit(100)
@since("30d")
@click.pass_context
def runs(context: click.Context, filter: str, prompts: bool, limit: int, since: timedelta) -> None:
    """List runs with what came of them, the latest first: latency, cost, errors and scores of their traces.

    FILTER is in MLflow's grammar: "params.llm.model = 'gpt-4o' AND metrics.latency_ms_p95 < 1200 AND metrics.cost_usd <
    0.002". A mistaken name is answered with all there are.
    """
    if context.invoked_subcommand:
        return
    from spanloom_viewer import run_tables

    found = _found(filter, prompts, limit, since)
    if found:
        console().print(run_tables.runs(found))


@runs.command()
@click.option("--mlflow", "uri", required=True, metavar="URI", help="Where MLflow's tracking server is.")
@click.option("--experiment", default="spanloom", show_default=True, help="MLflow's experiment; made where it is not.")
@_filter
@_prompts
@limit(1000)
@since("30d")
def push(uri: str, experiment: str, filter: str, prompts: bool, limit: int, since: timedelta) -> None:
    """Log each run's params, metrics and tags into MLflow, so that its own filter finds them.

    Needs `pip install 'spanloom-viewer[mlflow]'`. Pushing again changes only what has changed.
    """
    from spanloom_traces import StoreError
    from spanloom_traces.to_mlflow import push

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a person waits
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a run
    try:
        pushed = list(push(_found(filter, prompts, limit, since), uri, experiment))
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    for one in pushed:
        for name in one.changes.kept:
            click.echo(f"{clean(one.run_id)}: {name} is another by now, and MLflow keeps the first", err=True)
    new, changed = sum(one.new for one in pushed), sum(not one.new and bool(one.changes) for one in pushed)
    click.echo(f"{several(len(pushed), 'run')} in {experiment}: {new} new, {changed} changed")


def _found(filter: str, prompts: bool, limit: int, since: timedelta) -> "Sequence[Run]":
    with asking() as store:
        found = store.runs(filter, by="prompt" if prompts else "run", since=since, limit=limit)
    if not found:
        what = "prompt version" if prompts else "run"
        click.echo(f"no such {what} has traces in that time; look further back with --since 90d")
    return found


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--all", "everything", is_flag=True, help="Values that are the same, too.")
def compare(a: str, b: str, everything: bool) -> None:
    """Show two runs side by side with their differences; or two prompt versions, written ID@VERSION; or two traces."""
    from spanloom_viewer import run_tables

    with asking() as store:
        found = store.compare(a, b)
    console().print(run_tables.comparison(found, everything=everything))
