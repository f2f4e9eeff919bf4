"""`spanloom probe`."""

import click


@click.command()
def probe() -> None:
    """Send what this machine and its GPUs do to Kafka. Runs until SIGTERM or Ctrl-C; one a machine."""
    import logging
    import signal
    import threading

    from confluent_kafka import KafkaException
    from spanloom_schemas.settings import SettingsError, read

    from spanloom.probe.settings import ProbeSettings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s probe: %(message)s")
    try:
        from spanloom.probe.running import run
    except ImportError as error:
        raise click.ClickException(f"{error}: pip install 'spanloom[probe]'") from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = read(ProbeSettings)
        settings.ssl_context()
        run(settings, stop, click.echo)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    except KafkaException as error:
        raise click.ClickException(f"{settings.kafka_bootstrap}: {error.args[0].str()}") from None
