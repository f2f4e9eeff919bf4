"""The whole line as services: broker and engine, their topics, processors, and the sink, which brings the tables."""

import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

import click
from spanloom.topics_command import apply as create_topics
from spanloom_schemas.settings import KafkaSettings, read

from spanloom_stack import jars, kafka, net, services
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Service, StartFailed, Supervisor


class Line(NamedTuple):
    """A running line: the environment that brings any Spanloom program to it."""

    environment: dict[str, str]

    @classmethod
    def start(
        cls,
        settings: StackSettings,
        environment: Mapping[str, str],
        children: Supervisor,
        progress: Callable[[str], None] = lambda step: None,
    ) -> Self:
        """Start everything among `children` and return when spans are taken.

        Raises ClickException, one line, for a taken port, a jar that cannot be had, a service that does not start.
        """
        try:
            return cls(_start(settings, dict(environment), children, progress))
        except (jars.JarError, kafka.BrokerError, StartFailed) as error:
            raise click.ClickException(str(error)) from error


def _start(
    settings: StackSettings, environment: dict[str, str], children: Supervisor, progress: Callable[[str], None]
) -> dict[str, str]:
    storage = []
    if not settings.clickhouse_url:
        engine, environment["SPANLOOM_CLICKHOUSE_URL"] = _engine(settings)
        storage.append(engine)
    if not settings.kafka_bootstrap:
        broker, environment["SPANLOOM_KAFKA_BOOTSTRAP"] = _broker(settings, progress)
        storage.append(broker)
    progress("starting the broker and the engine …")
    children.start(*storage)
    progress("creating topics …")
    create_topics(read(KafkaSettings, environment))
    progress("starting processors and sink …")
    port = _metrics_port(environment)
    environment["SPANLOOM_METRICS_PORT"] = str(port)
    environment["SPANLOOM_SINK_METRICS_PORT"] = str(_sink_metrics_port(environment))
    children.start(*_workers(settings.stack_processors, port, environment))
    return environment


def _engine(settings: StackSettings) -> tuple[Service, str]:
    try:
        return services.engine(settings.data / "clickhouse", settings.clickhouse_port)
    except net.PortTaken as taken:
        raise _advice(
            taken, "SPANLOOM_CLICKHOUSE_PORT", "SPANLOOM_CLICKHOUSE_URL to the server that listens there"
        ) from taken


def _broker(settings: StackSettings, progress: Callable[[str], None]) -> tuple[Service, str]:
    installation = kafka.install(settings.cache, lambda step, done, total: progress(f"{step} {done}/{total}"))
    try:
        return services.broker(installation, settings.data / "kafka", settings.kafka_port)
    except net.PortTaken as taken:
        raise _advice(
            taken, "SPANLOOM_KAFKA_PORT", "SPANLOOM_KAFKA_BOOTSTRAP to the broker that listens there"
        ) from taken


def _advice(taken: net.PortTaken, variable: str, instead: str) -> click.ClickException:
    return click.ClickException(f"{taken}: set {variable} to another (0 takes a free one), or {instead}")


def _metrics_port(environment: Mapping[str, str]) -> int:
    from spanloom_processors.settings import ProcessorSettings

    return _port("SPANLOOM_METRICS_PORT", read(ProcessorSettings, environment).metrics_port)


def _sink_metrics_port(environment: Mapping[str, str]) -> int:
    from spanloom_sinks.settings import SinkSettings

    return _port("SPANLOOM_SINK_METRICS_PORT", read(SinkSettings, environment).sink_metrics_port)


def _port(variable: str, port: int) -> int:
    try:
        return net.claim(port)
    except net.PortTaken as taken:
        raise click.ClickException(f"{taken}: set {variable} to another (0 takes a free one)") from taken


def _workers(processors: int, port: int, environment: Mapping[str, str]) -> list[Service]:
    """The sink, and the processors: the first serves metrics on `port`, the others on free ports."""
    host = socket.gethostname()  # two machines may share a cluster
    return [
        services.spanloom("sink", "sink", **environment),
        *(
            services.spanloom(
                f"processor-{number}",
                "processor",
                **{
                    **environment,
                    "SPANLOOM_PROCESSOR_MEMBER": f"{host}-{number}",
                    "SPANLOOM_METRICS_PORT": str(port if number == 1 else 0),
                },
            )
            for number in range(1, processors + 1)
        ),
    ]
