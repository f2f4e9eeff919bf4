"""What the subcommands that read share: the store as a terminal asks it, periods, and the console."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from spanloom_schemas import settings as environment
from spanloom_schemas.periods import EXAMPLES, period

from spanloom_viewer.settings import ViewerSettings

if TYPE_CHECKING:
    from spanloom_traces import TraceStore


class Period(click.ParamType):
    """A length of time such as 90s, 15m, 6h or 7d."""

    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """At most ten years."""
        if isinstance(value, timedelta):
            return value
        found = period(str(value))
        return self.fail(f"{value!r} is no period; write {EXAMPLES}", param, ctx) if found is None else found


def since(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--since`."""
    return click.option("--since", type=Period(), default=default, show_default=True, help="How far back to look.")


def limit(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--limit`."""
    return click.option("--limit", type=click.IntRange(1, 10_000), default=default, show_default=True, help="How many.")


@contextmanager
def asking() -> "Iterator[TraceStore]":
    """The store; on a terminal something moves until it has answered. What it cannot answer is said in one line."""
    with Console(stderr=True).status("asking ClickHouse …"), opened() as store:
        yield store


@contextmanager
def opened() -> "Iterator[TraceStore]":
    """The store; what it cannot answer is said in one line."""
    from spanloom_traces import StoreError, TraceStore

    settings = environment.read(ViewerSettings)
    try:
        with TraceStore(settings) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def console() -> Console:
    """As wide as the terminal; wide enough for tables where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=160)
