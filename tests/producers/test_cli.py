from collections.abc import Callable
from importlib.metadata import EntryPoint

import click
import pytest
from spanloom import cli
from spanloom_schemas.settings import SettingsError


@click.command("fine")
def fine() -> None:
    """Do it."""
    click.echo("done")


@click.command("failing")
def failing() -> None:
    raise click.ClickException("the port 9092 is taken; free it")


@click.command("misconfigured")
def misconfigured() -> None:
    raise SettingsError("SPANLOOM_X is 'y': a whole number is expected")


@click.command("interrupted")
def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line with four subcommands and one that cannot be imported."""
    here = {name: EntryPoint(name, f"{__name__}:{name}", cli.GROUP) for name in ("gone",)}
    commands = {command.name: command for command in (fine, failing, misconfigured, interrupted)}
    monkeypatch.setattr(
        cli, "installed", lambda: {**here, **{name: _Loaded(command) for name, command in commands.items()}}
    )

    def running(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["spanloom", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return running


class _Loaded:
    """An entry point that is loaded already."""

    def __init__(self, command: click.Command) -> None:
        self.load = lambda: command


Run = Callable[..., tuple[int, str, str]]


def test_a_subcommand_runs_and_exits_with_0(run: Run) -> None:
    assert run("fine") == (0, "done\n", "")


def test_an_error_is_one_line_and_exit_code_1(run: Run) -> None:
    assert run("failing") == (1, "", "spanloom: the port 9092 is taken; free it\n")
    assert run("misconfigured") == (1, "", "spanloom: SPANLOOM_X is 'y': a whole number is expected\n")


def test_wrong_usage_is_exit_code_2_and_an_interrupt_130(run: Run) -> None:
    assert run("no-such-thing")[0] == 2
    assert run("interrupted")[0] == 130


def test_a_subcommand_that_cannot_be_imported_says_so_and_disturbs_no_other(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "fine" in out
    assert "cannot be loaded" in out
    status, _, err = run("gone")
    assert status == 1
    assert len(err.splitlines()) == 1


def test_the_version_is_the_distributions(run: Run) -> None:
    from importlib.metadata import version

    assert version("spanloom") in run("--version")[1]
