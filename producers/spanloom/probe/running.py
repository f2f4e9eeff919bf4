"""A probe from start to end: a reading every second, a message every ten."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import psutil
import pynvml
from prometheus_client import start_http_server
from spanloom_schemas.settings import SettingsError

from spanloom.probe.machine import Machine
from spanloom.probe.metrics import Metrics
from spanloom.probe.nvml import Gpus, NoGpus
from spanloom.probe.outbox import Outbox
from spanloom.probe.panes import Panes
from spanloom.probe.reading import Reading
from spanloom.probe.settings import ProbeSettings

SECOND = 1.0
GOODBYE_SECONDS = 5.0

log = logging.getLogger(__name__)


def run(settings: ProbeSettings, stop: threading.Event, say: Callable[[str], object], nvml: Any = pynvml) -> None:
    """Read and send until `stop` is set; say one line when ready, which counts the GPUs.

    Raises SettingsError where the port is taken, KafkaException where the settings of Kafka make no sense.
    """
    host = settings.host or socket.gethostname()
    header = {"environment": settings.environment, "host": host, "sdk": f"spanloom/{version('spanloom')}"}
    metrics = Metrics()
    outbox = Outbox(settings, host, metrics)
    server = _listen(settings, metrics)
    machine, gpus = Machine(psutil), _gpus(nvml)
    panes = Panes(secrets.randbits(62))
    say(f"ready gpus={gpus.count if gpus else 0} metrics={server.server_port}")
    due = time.monotonic() + SECOND
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + SECOND, time.monotonic())  # a machine that slept is not read once for each second it missed
        readings: list[Reading] = [*machine.read(), *(gpus.read() if gpus else ())]
        metrics.read(readings)
        over = panes.add(time.time_ns() // 1_000_000, readings)
        outbox.put(header | over) if over else outbox.turn()
    last = panes.close()
    if last:
        outbox.put(header | last)
    outbox.close(GOODBYE_SECONDS)
    server.shutdown()
    server.server_close()
    if gpus:
        gpus.close()


def _gpus(nvml: Any) -> Gpus | None:
    try:
        return Gpus(nvml)
    except NoGpus as error:
        log.warning("no GPU can be read (%s): samples of the machine only", error)
        return None


def _listen(settings: ProbeSettings, metrics: Metrics) -> Any:
    host, port = settings.probe_metrics_host, settings.probe_metrics_port
    try:
        return start_http_server(port, host, metrics.registry)[0]
    except OSError as error:
        raise SettingsError(
            f"cannot serve /metrics on {host}:{port}: {error.strerror}; set SPANLOOM_PROBE_METRICS_PORT"
        ) from None
