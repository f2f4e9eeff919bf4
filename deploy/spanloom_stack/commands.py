"""`spanloom up`: the whole line on this machine."""

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click


@click.command()
def up() -> None:
    """Keep the whole line running: broker, engine, processors and sink, until Ctrl-C.

    What SPANLOOM_KAFKA_BOOTSTRAP or SPANLOOM_CLICKHOUSE_URL names is used instead of the embedded broker or engine.
    State is kept in SPANLOOM_STACK_DATA between runs.
    """
    # The stack is heavy, and this module is imported to list the subcommands.
    from rich.console import Console
    from spanloom_schemas.settings import read

    from spanloom_stack.line import Line
    from spanloom_stack.settings import StackSettings
    from spanloom_stack.supervise import Supervisor

    settings = read(StackSettings)
    console = Console(highlight=False)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    with (
        _alone(settings.data),
        Supervisor(settings.data / "logs", lambda line: console.print(f"[yellow]{line}")) as children,
    ):
        try:
            with console.status("starting …") as status:
                line = Line.start(settings, os.environ, children, status.update)
            console.print(_welcome(line.environment, settings.data), soft_wrap=True)
            children.watch(until=lambda: False)
        except KeyboardInterrupt:
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, signal.SIG_IGN)  # one is enough; every stop has its time limit
            console.print("stopping; the state is kept")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the data folder: two brokers, or two engines, would spoil one another's state."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise click.ClickException(
                f"another `spanloom up` uses {data}: stop it, or set SPANLOOM_STACK_DATA to another folder"
            ) from None
        yield


def _welcome(environment: Mapping[str, str], data: Path) -> str:
    bootstrap, url = environment["SPANLOOM_KAFKA_BOOTSTRAP"], environment["SPANLOOM_CLICKHOUSE_URL"]
    metrics, sink_metrics = environment["SPANLOOM_METRICS_PORT"], environment["SPANLOOM_SINK_METRICS_PORT"]
    return f"""\
[green]ready[/]: spans sent from now on are priced, woven, counted and stored

  Kafka       {bootstrap}
  ClickHouse  {url}  (database spanloom; the user `reader` only reads)
  Metrics     http://127.0.0.1:{metrics}/metrics (processor), http://127.0.0.1:{sink_metrics}/metrics (sink)
  State, logs {data}

In your own project:

  pip install {_producer()}
  export SPANLOOM_KAFKA_BOOTSTRAP={bootstrap} SPANLOOM_SERVICE=my-service

  import spanloom                          # in the service
  spanloom.configure()
  @spanloom.trace_llm("answer", model="gpt-4o")
  def answer(question): ...

Then look: `spanloom traces`, `spanloom explain ID`, `spanloom alerts`, `spanloom runs`, `spanloom sql "SELECT …"`.
Ctrl-C stops everything; the state is kept."""


def _producer() -> str:
    """What pip installs the producer from: its folder here when it is installed from one, else its name."""
    import spanloom

    folder = Path(spanloom.__file__).parents[1]
    if not (folder / "pyproject.toml").exists():
        return "spanloom"
    return f"{folder.parent / 'schemas'} {folder}"
