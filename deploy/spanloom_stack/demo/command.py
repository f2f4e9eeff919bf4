"""`spanloom demo`: starts the line and the example, watches three incidents, checks every number, and serves on."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--seconds", type=click.FloatRange(90), default=90.0, show_default=True, help="How long people ask.")
@click.option(
    "--otlp",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="VENV",
    help="Run the example that knows OpenTelemetry alone, in this environment (make demo-otlp), through the gateway.",
)
def demo(seconds: float, otlp: Path | None) -> None:
    """Run the whole line in real time around an example service, and check every number it shows.

    A real broker, engine, processors and sink, a pager double, and an example RAG service under load with three
    incidents. Exit code 0: every check held. On a terminal it then keeps serving until Ctrl-C.
    """
    # The stack is heavy, and this module is imported to list the subcommands.
    from rich.console import Console

    from spanloom_stack.demo import services
    from spanloom_stack.demo.run import run

    services.require(otlp)
    _leave_settings_behind()
    for ending in _ENDINGS:
        signal.signal(ending, _interrupt_once)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    folder = Path(tempfile.mkdtemp(prefix="spanloom-demo-"))
    try:
        held = run(console, folder, seconds, otlp and otlp.resolve())
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    if not held:
        raise click.ClickException(
            f"not every check held. To query what was stored: {sys.executable} -m spanloom_stack.clickhouse "
            f"--data {folder / 'clickhouse'}, then spanloom sql"
        )
    shutil.rmtree(folder)


def _interrupt_once(number: int, frame: object) -> None:
    """One signal is enough: every stop has its time limit, and a second must not cut it short."""
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave_settings_behind() -> None:
    """The demo is the same whatever the environment configures; only the folder of jars is shared."""
    for name in [name for name in os.environ if name.startswith("SPANLOOM_") and name != "SPANLOOM_STACK_CACHE"]:
        del os.environ[name]
