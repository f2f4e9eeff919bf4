"""`spanloom processor`: one worker, until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaException
from prometheus_client import disable_created_metrics, start_http_server
from spanloom.cluster import ClusterError, connect
from spanloom_schemas.prices.book import Book
from spanloom_schemas.prices.own import PricesError
from spanloom_schemas.settings import SettingsError, read

from spanloom_processors import agents, logs, watchdog
from spanloom_processors.alerting import ALERTS, HOURS, SAMPLES
from spanloom_processors.assignment import describe_topics
from spanloom_processors.core.alerts.rules import Rule, RuleError, parse
from spanloom_processors.dead_letters import TOPIC as DEAD_LETTERS
from spanloom_processors.delivery.pagerduty import URL
from spanloom_processors.delivery.route import Route, default_route
from spanloom_processors.emit import PANES, TRACES
from spanloom_processors.metrics import Metrics
from spanloom_processors.settings import ProcessorSettings
from spanloom_processors.spans import TOPIC as SPANS
from spanloom_processors.worker import Worker

log = logging.getLogger(__name__)

TOPICS = (SPANS, PANES, TRACES, SAMPLES, ALERTS, HOURS, DEAD_LETTERS)
STOP_TIMEOUT_S = 4.0


@click.command()
def processor() -> None:
    """Weave spans into traces, fold them into panes, raise alerts. Runs until SIGTERM or Ctrl-C."""
    try:
        settings = read(ProcessorSettings)
        book = Book.load(settings.prices_file or None)
        rules = _rules(settings.rules_file)
        _route(settings)
    except PricesError as error:
        raise click.ClickException(f"SPANLOOM_PRICES_FILE: {error}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    logs.configure()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    sys.exit(asyncio.run(serve(settings, book, rules)))


async def serve(settings: ProcessorSettings, book: Book, rules: list[Rule]) -> int:
    """Run a worker; returns the process's exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _check_topics(settings)
    metrics = Metrics()
    server = _listen(settings, metrics)
    worker = Worker(settings, book, rules, lambda: _route(settings), metrics)
    agents.register(worker)
    watching = watchdog.watch(worker.vitals, lambda: _away(settings), settings.watchdog_s)
    try:
        host, port = server.server_address
        return await _run(worker, stop, f"ready group={settings.processor_group} metrics=http://{host}:{port}/metrics")
    finally:
        watching.set()
        server.shutdown()


async def _run(worker: Worker, stop: asyncio.Event, ready: str) -> int:
    app = worker.app
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    crashed = asyncio.ensure_future(app._crashed.wait())
    await asyncio.wait({starting, stopping, crashed}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not starting.exception() and not crashed.done():
        click.echo(ready)
        await asyncio.wait({stopping, crashed}, return_when=asyncio.FIRST_COMPLETED)
    failure = app.crash_reason or (starting.exception() if starting.done() else None)
    if failure is not None:
        log.error("stopping after a failure: %r", failure)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            if failure is None:
                await worker.leave()
            await app.stop()
    except TimeoutError:
        log.warning("did not stop in %.0f s; what was not committed will be read again", STOP_TIMEOUT_S)
        logging.shutdown()
        os._exit(1 if failure else 0)  # a thread may hang on the broker
    for task in (starting, stopping, crashed):
        task.cancel()
    return 1 if failure else 0


def _away(settings: ProcessorSettings) -> str | None:
    """Say why Kafka cannot be reached; None: it can."""
    try:
        connect(settings)
    except (ClusterError, SettingsError) as error:
        return str(error)
    return None


async def _check_topics(settings: ProcessorSettings) -> None:
    """Say in one line what is missing, before Faust says it in many."""
    try:
        await asyncio.to_thread(connect, settings)
        facts = await asyncio.to_thread(describe_topics, settings.librdkafka(), TOPICS)
    except (ClusterError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except KafkaException as error:
        reason = error.args[0].str()
        hint = "were the topics made by `spanloom topics create`?"
        raise click.ClickException(f"{settings.kafka_bootstrap}: {reason}; {hint}") from None
    spans, traces = facts[SPANS].partitions, facts[TRACES].partitions
    if traces < spans:  # a trace is told in the partition that its spans are in
        raise click.ClickException(
            f"{settings.kafka_bootstrap}: {SPANS} has {spans} partitions and {TRACES} {traces}: give it {spans} too"
        )


def _listen(settings: ProcessorSettings, metrics: Metrics) -> Any:
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise click.ClickException(
            f"cannot serve /metrics on {address}: {error.strerror}; set SPANLOOM_METRICS_PORT"
        ) from None
    return server


def _route(settings: ProcessorSettings) -> Route:
    return default_route(
        settings.alertmanager_url.reveal(),
        settings.pagerduty_routing_key.reveal(),
        settings.webhook_url.reveal(),
        settings.pagerduty_url or URL,
    )


def _rules(path: str) -> list[Rule]:
    if not path:
        return parse((files("spanloom_processors") / "rules" / "default.yaml").read_text("utf-8"))
    try:
        return parse(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"SPANLOOM_RULES_FILE is {path}: {error.strerror}") from None
    except (RuleError, UnicodeDecodeError) as error:
        raise SettingsError(f"SPANLOOM_RULES_FILE is {path}: {error}") from None
