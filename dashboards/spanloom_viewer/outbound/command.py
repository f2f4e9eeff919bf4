"""`spanloom export`."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from spanloom_viewer.asking import Period, opened

if TYPE_CHECKING:
    from rich.progress import Progress

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([^\r\n]*)")


@click.command()
@click.argument("trace_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--since", type=Period(), default="1h", show_default=True, help="Without IDs: spans that ended so long ago,"
)
@click.option("--until", type=Period(), default="0s", show_default=True, help="up to so long ago.")
@click.option("--jsonl", metavar="FILE", help="Write one JSON object a span; - is standard output.")
@click.option("--otlp", metavar="URL", help="Send to a backend by OTLP over HTTP (Jaeger, Tempo, a Collector).")
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True, help="Of each request to the backend.")
def export(
    trace_ids: tuple[str, ...],
    since: timedelta,
    until: timedelta,
    jsonl: str | None,
    otlp: str | None,
    headers: tuple[str, ...],
) -> None:
    """Export stored spans: of the traces ID, or of a range of time; each span once, by event time."""
    from spanloom_viewer.outbound import sending

    if (jsonl is None) == (otlp is None):
        raise click.UsageError("say where to: --jsonl FILE or --otlp URL")
    ids = [trace_id.strip().lower() for trace_id in trace_ids]
    if not all(re.fullmatch(r"[0-9a-f]{32}", trace_id) for trace_id in ids):
        raise click.UsageError("a trace id is 32 hexadecimal digits; spanloom traces lists the latest")
    if otlp is not None and not re.fullmatch(r"https?://[^\s/?#@]+([/?]\S*)?", otlp):
        raise click.UsageError(
            "--otlp takes a URL that begins with http:// or https:// and holds no user name or password (--header does)"
        )
    with opened() as store, _progress() as moving:
        found = store.whole(ids, since=since, until=until)
        rows = moving.track(found, found.count, description="exporting …")
        if jsonl is not None:
            click.echo(f"{written(rows, jsonl)} spans written", err=True)
            return
        try:
            sent = sending.send(rows, str(otlp), _parsed(headers))
        except sending.RefusedError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{sent.spans - sent.rejected} spans sent to {otlp}")
    if sent.rejected:
        raise click.ClickException(f"{otlp} rejected {sent.rejected} spans: {sent.why or 'it does not say why'}")


def _progress() -> "Progress":
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def written(rows: Iterable[dict[str, Any]], path: str) -> int:
    """Write rows as JSON lines, in ASCII, so that no text in them steers a terminal; return how many."""
    with _opened(path) as file:
        return sum(bool(file.write(json.dumps(row, separators=(",", ":")) + "\n")) for row in rows)


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
        return
    try:
        with Path(path).open("w", encoding="ascii") as file:
            yield file
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None


def _parsed(headers: tuple[str, ...]) -> dict[str, str]:
    found = [_HEADER.fullmatch(said) for said in headers]
    if not all(found):
        raise click.UsageError("a header is NAME=VALUE")
    return {match[1]: match[2] for match in found if match}
