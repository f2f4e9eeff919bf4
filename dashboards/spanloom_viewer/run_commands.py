"""The subcommands about runs and prompt versions: `spanloom runs`, `compare`."""

from datetime import timedelta

import click

from spanloom_viewer.asking import asking, console, limit, since


@click.command()
@click.option("--filter", default="", metavar="FILTER", help="Only those that FILTER finds.")
@click.option("--prompts", is_flag=True, help="Versions of prompts instead of runs.")
@limit(100)
@since("30d")
def runs(filter: str, prompts: bool, limit: int, since: timedelta) -> None:
    """List runs with what came of them, the latest first: latency, cost, errors and scores of their traces.

    FILTER is in MLflow's grammar: "params.llm.model = 'gpt-4o' AND metrics.latency_ms_p95 < 1200 AND metrics.cost_usd <
    0.002". A mistaken name is answered with all there are.
    """
    from spanloom_viewer import run_tables

    with asking() as store:
        found = store.runs(filter, by="prompt" if prompts else "run", since=since, limit=limit)
    if not found:
        what = "prompt version" if prompts else "run"
        click.echo(f"no such {what} has traces in that time; look further back with --since 90d")
        return
    console().print(run_tables.runs(found))


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
