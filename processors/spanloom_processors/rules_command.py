"""`spanloom rules`: read alert rules before they are used."""

from importlib.resources import files
from pathlib import Path

import click

from spanloom_processors.core.alerts.rules import RuleError, parse


@click.group()
def rules() -> None:
    """Alert rules."""


@rules.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check a rules FILE and say each rule in one line; without FILE, Spanloom's own rules."""
    try:
        text = file.read_text() if file else files("spanloom_processors").joinpath("rules", "default.yaml").read_text()
        for rule in parse(text):
            click.echo(rule.sentence())
    except (RuleError, OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file or 'default rules'}: {getattr(error, 'strerror', None) or error}") from None
