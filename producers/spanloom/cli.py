"""The command ``spanloom``: a frame to which every installed member adds its subcommands.

A subcommand is an entry point of the group ``spanloom.commands``: its name is the word typed, its object a
`click.Command`. It is imported when it is run or listed, so its module should import nothing heavy at the top.

Exit codes: 0 done, 1 failed (one line on stderr says why and what to do), 2 used wrongly, 130 interrupted.
"""

import sys
from importlib.metadata import EntryPoint, entry_points, version

import click

GROUP = "spanloom.commands"


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of all subcommands by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


class Frame(click.Group):
    """A group whose commands are entry points, loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every subcommand, sorted."""
        return sorted({*super().list_commands(ctx), *installed()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one subcommand; one that cannot be imported becomes a command that says so."""
        point = installed().get(cmd_name)
        if point is None:
            return super().get_command(ctx, cmd_name)
        try:
            command = point.load()
        except (ImportError, AttributeError) as error:
            return broken(cmd_name, point, error)
        return command if isinstance(command, click.Command) else broken(cmd_name, point, TypeError("not a command"))


def broken(name: str, point: EntryPoint, error: Exception) -> click.Command:
    """Return a command that fails with the reason why ``point`` could not be loaded, so that the others still work."""
    distribution = point.dist.name if point.dist else point.value

    def fail() -> None:
        raise click.ClickException(f"the subcommand {name} of {distribution} cannot be loaded: {error}; reinstall it")

    return click.Command(name, callback=fail, short_help=f"(cannot be loaded: {error})")


@click.group(cls=Frame, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("spanloom"), prog_name="spanloom")
def spanloom() -> None:
    """Watch GenAI services while they run: traces, tokens, cost, latency, alerts."""
    from spanloom_schemas.settings import check

    check()  # whatever is asked for: a misspelt variable is one that somebody believes to be set


def main() -> None:
    """Run the command line; every error that is not a bug is one line."""
    from spanloom_schemas.settings import SettingsError

    try:
        code = spanloom.main(prog_name="spanloom", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.Abort:
        click.echo("spanloom: interrupted", err=True)
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"spanloom: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except SettingsError as error:
        click.echo(f"spanloom: {error}", err=True)
        sys.exit(1)
