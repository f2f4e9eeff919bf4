"""`spanloom sink` and `spanloom migrate`."""

import click


@click.command()
def sink() -> None:
    """Write the topics into ClickHouse. Runs until SIGTERM or Ctrl-C."""
    import logging
    import signal
    import threading

    from confluent_kafka import KafkaException
    from prometheus_client import start_http_server
    from spanloom_schemas.prices.book import Book
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
        metrics = Metrics()
        server, _ = start_http_server(settings.sink_metrics_port, settings.sink_metrics_host, metrics.registry)
        apply_when_up(settings.clickhouse, settings.retention, stop)
        running = Sink.build(settings, Book.load(settings.prices_file or None), metrics)
        running.run(stop, lambda: click.echo(f"ready group={settings.sink_group} metrics={server.server_port}"))
    except (SettingsError, ConsumerError, MigrationError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except KafkaException as error:
        raise click.ClickException(f"{settings.kafka_bootstrap}: {error.args[0].str()}") from None


@click.command()
def migrate() -> None:
    """Bring the ClickHouse database to what this version needs."""
    from spanloom_schemas.settings import SettingsError, read

    from spanloom_sinks.migrate import MigrationError, apply
    from spanloom_sinks.settings import SinkSettings
    from spanloom_sinks.store import StoreError

    try:
        settings = read(SinkSettings)
        done = apply(settings.clickhouse, settings.retention)
    except (SettingsError, MigrationError) as error:
        raise click.ClickException(str(error)) from None
    except StoreError as error:
        raise click.ClickException(f"{settings.clickhouse.clickhouse_url}: {error}") from None
    click.echo("\n".join(done) or f"database {settings.clickhouse.clickhouse_database} is as it should be")
