"""A gateway from start to end: both doors, the Collector's topic, and the sender behind them."""

import asyncio
import signal
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import uvicorn
from prometheus_client import start_http_server
from spanloom_schemas.settings import SettingsError

from spanloom.gateway import grpc_door, http_door, keys, tls
from spanloom.gateway.collector import Reader
from spanloom.gateway.door import REQUESTS, Door
from spanloom.gateway.settings import GatewaySettings

GOODBYE_SECONDS = 8.0
"""For requests under way, and then for the ledger."""


async def serve(settings: GatewaySettings, say: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT; say one line when ready.

    Raises SettingsError for keys or a certificate that cannot be read or are missing, OSError where a port is taken.
    """
    known = keys.load(settings.gateway_keys_file)
    if not known.needed and not _is_local(settings.gateway_host):
        raise SettingsError(
            f"SPANLOOM_GATEWAY_HOST is {settings.gateway_host}: beyond this machine senders need keys "
            "(SPANLOOM_GATEWAY_KEYS_FILE)"
        )
    certificate = tls.load(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    door = Door(settings, known)
    http = _Http(door)
    grpc, grpc_port = _grpc(door, certificate)
    scraped = _scraped(door)
    await grpc.start()
    door.start()
    reader = Reader(door) if settings.gateway_collector_topic else None
    reading = asyncio.create_task(reader.run()) if reader else None
    serving = asyncio.create_task(http.serve())
    await http.listening
    say(f"ready http={http.port} grpc={grpc_port} metrics={scraped.server_port}")
    await _first(stop, serving, reading)
    if reader:
        reader.stop()
    http.should_exit = True
    await asyncio.gather(serving, grpc.stop(GOODBYE_SECONDS), *([reading] if reading else []))
    await asyncio.to_thread(door.close, GOODBYE_SECONDS)
    scraped.shutdown()
    scraped.server_close()


class _Http(uvicorn.Server):
    """Uvicorn, whose signals are ours, and which says when it listens, and where."""

    def __init__(self, door: Door) -> None:
        settings = door.settings
        super().__init__(
            uvicorn.Config(
                http_door.application(door),
                host=settings.gateway_host,
                port=settings.gateway_port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                limit_concurrency=2 * REQUESTS,  # connections, those that say nothing among them
                timeout_graceful_shutdown=int(GOODBYE_SECONDS),
                ssl_certfile=settings.gateway_cert_file or None,
                ssl_keyfile=settings.gateway_key_file or None,
            )
        )
        self.listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def port(self) -> int:
        found: int = self.servers[0].sockets[0].getsockname()[1]
        return found

    async def startup(self, sockets: object = None) -> None:
        try:
            await super().startup()
        except SystemExit:  # uvicorn's word for a port that is taken
            port = self.config.port
            self.listening.set_exception(OSError(f"port {port} is taken: set SPANLOOM_GATEWAY_PORT"))
            raise OSError from None
        self.listening.set_result(None)

    def capture_signals(self) -> object:  # type: ignore[override]
        from contextlib import nullcontext

        return nullcontext()


def _grpc(door: Door, certificate: tls.Certificate | None) -> tuple[grpc_door.Server, int]:
    try:
        return grpc_door.server(door, certificate)
    except RuntimeError:
        port = door.settings.gateway_grpc_port
        raise OSError(f"port {port} cannot be had: set SPANLOOM_GATEWAY_GRPC_PORT") from None


def _scraped(door: Door) -> Any:
    host, port = door.settings.gateway_metrics_host, door.settings.gateway_metrics_port
    try:
        return start_http_server(port, host, door.metrics.registry)[0]
    except OSError as error:
        raise SettingsError(
            f"cannot serve /metrics on {host}:{port}: {error.strerror}; set SPANLOOM_GATEWAY_METRICS_PORT"
        ) from None


async def _first(stop: asyncio.Event, *tasks: "asyncio.Task[None] | None") -> None:
    """Wait for the wish to stop, or the end of a task, whose error is raised."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *filter(None, tasks)], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {waiting}:
        task.result()
    waiting.cancel()


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
