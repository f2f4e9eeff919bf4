"""`spanloom sink` and `spanloom migrate`."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from spanloom_sinks.metrics import Metrics
    from spanloom_sinks.settings import SinkSettings


@click.command()
def sink() -> None:
    """Write the topics into ClickHouse. Runs until SIGTERM or Ctrl-C."""
    import logging
    import signal
    import threading

    from confluent_kafka import KafkaException
    from spanloom_schemas.prices.book import Book
    from spanloom_schemas.prices.own import PricesError
    from spanloom_schemas.settings import SettingsError, read

    from spanloom_sinks.consumer import ConsumerError
    from spanloom_sinks.metrics import Metrics
    from spanloom_sinks.migrate import MigrationError, apply_when_up
    from spanloom_sinks.service import Sink
    from spanloom_sinks.settings import SinkSettings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s sink: %(message)s")
    for talkative in ("clickhouse_connect", "urllib3"):  # they tell what is told here in one line
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = read(SinkSettings)
        book = Book.load(settings.prices_file or None)
        metrics = Metrics()
        server = _listen(settings, metrics)
        apply_when_up(settings.clickhouse, settings.retention, stop)
        running = Sink.build(settings, book, metrics)
        running.run(stop, lambda: click.echo(f"ready group={settings.sink_group} metrics={server.server_port}"))
    except PricesError as error:
        raise click.ClickException(f"SPANLOOM_PRICES_FILE: {error}") from None
    except (SettingsError, ConsumerError, MigrationError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except KafkaException as error:
        raise click.ClickException(f"{settings.kafka_bootstrap}: {error.args[0].str()}") from None


def _listen(settings: "SinkSettings", metrics: "Metrics") -> Any:
    from prometheus_client import start_http_server

    host, port = settings.sink_metrics_host, settings.sink_metrics_port
    try:
        return start_http_server(port, host, metrics.registry)[0]
    except OSError as error:
        raise click.ClickException(
            f"cannot serve /metrics on {host}:{port}: {error.strerror}; set SPANLOOM_SINK_METRICS_PORT"
        ) from None


@click.command()
def migrate() -> None:
    """Bring the ClickHouse database to what this version needs."""
    from rich.console import Console
    from spanloom_schemas.settings import SettingsError, read

    from spanloom_sinks.migrate import MigrationError, apply
    from spanloom_sinks.settings import SinkSettings
    from spanloom_sinks.store import StoreError

    try:
        settings = read(SinkSettings)
        with Console(stderr=True).status("bringing the database up to date …"):
            done = apply(settings.clickhouse, settings.retention)
    except (SettingsError, MigrationError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(done) or f"database {settings.clickhouse.clickhouse_database} is as it should be")
