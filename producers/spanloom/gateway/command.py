"""`spanloom gateway`."""

import click


@click.command()
def gateway() -> None:
    """Take spans by OTLP, over HTTP and gRPC, and publish them to Kafka. Runs until SIGTERM or Ctrl-C."""
    import asyncio
    import logging

    from confluent_kafka import KafkaException
    from spanloom_schemas.settings import SettingsError, read

    from spanloom import cluster
    from spanloom.gateway.settings import GatewaySettings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s gateway: %(message)s")
    try:
        from spanloom.gateway.serving import serve
    except ImportError as error:
        raise click.ClickException(f"{error}: pip install 'spanloom[gateway]'") from None
    try:
        settings = read(GatewaySettings)
        settings.ssl_context()
        asyncio.run(serve(settings, click.echo))
    except (SettingsError, cluster.ClusterError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except KafkaException as error:
        raise click.ClickException(f"{settings.kafka_bootstrap}: {error.args[0].str()}") from None
