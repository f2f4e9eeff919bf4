"""`spanloom verify`."""

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click
from spanloom_schemas.periods import EXAMPLES, period

_NOT_THERE = (60, 81)  # ClickHouse's codes


class Moment(click.ParamType):
    """A time in UTC, as 2026-11-28T17:00, or so long ago, as 90s, 15m, 6h or 7d; in epoch seconds."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Epoch seconds."""
        if isinstance(value, int):
            return value
        if (ago := period(value)) is not None:
            return int(time.time() - ago.total_seconds())
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write {EXAMPLES} ago, or 2026-11-28T17:00 (UTC)", param, ctx)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


@click.command()
@click.option(
    "--since", type=Moment(), default="1h", show_default=True, help="From when: so long ago, or a time in UTC."
)
@click.option("--until", type=Moment(), help="Up to when; now if left out.")
@click.option("--no-topics", is_flag=True, help="Ask ClickHouse only: what never was stored is then not known.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(since: int, until: int | None, no_topics: bool, as_json: bool) -> None:
    """Prove that every number is right: what was produced against what is stored, and every sum against the raw rows.

    Nothing is changed. What is still in flight is told as in flight, never as missing. Exit code 0: exact; 1: something
    is wrong, and the lines say what, with a query that shows all of it.
    """
    from rich.console import Console
    from spanloom_schemas.settings import read

    from spanloom_sinks.settings import VerifySettings
    from spanloom_sinks.store import StoreError
    from spanloom_sinks.verify import printing
    from spanloom_sinks.verify.run import verify as run
    from spanloom_sinks.verify.topics import TopicsError

    for talkative in ("clickhouse_connect", "urllib3"):  # what they tell is told here in one line
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    settings = read(VerifySettings)
    if until is not None and until <= since:
        raise click.UsageError("--until must be later than --since")
    said = Console(stderr=True)
    try:
        with said.status("asking …") as status:
            report = run(
                settings,
                since,
                until,
                with_topics=not no_topics,
                progress=lambda done, total, what: status.update(f"{what} … {100 * done // total} %"),
            )
    except StoreError as error:
        raise click.ClickException(_advice(error, settings.clickhouse.clickhouse_url)) from None
    except TopicsError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(printing.as_json(report))
    else:
        printing.show(report, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    sys.exit(0 if report.exact else 1)


def _advice(error: Exception, url: str) -> str:
    code = getattr(error.__cause__, "code", None)
    if code in _NOT_THERE:
        return f"the database at {url} has no such table ({error}); run spanloom migrate"
    if code is None:
        return f"ClickHouse does not answer at {url}; start it with spanloom up, or set SPANLOOM_CLICKHOUSE_URL"
    return f"{url}: {error}"
