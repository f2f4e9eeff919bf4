"""`spanloom up` as a person runs it: real processes, in a folder and on ports of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from spanloom.probe.running import run
from spanloom.probe.settings import ProbeSettings

from tests.producers.probe.test_probe import READINGS, Watched

UP = [sys.executable, "-c", "from spanloom.cli import main; main()", "up"]
FREE_PORTS = {
    f"SPANLOOM_{name}": "0" for name in ("KAFKA_PORT", "CLICKHOUSE_PORT", "METRICS_PORT", "SINK_METRICS_PORT")
}


def environment(data: Path, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
    return {**inherited, "COLUMNS": "200", "SPANLOOM_STACK_DATA": str(data), **FREE_PORTS, **more}


class Up:
    """A running `spanloom up` and what it has said."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process = subprocess.Popen(
            UP, env=environment(data), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = self.until("Ctrl-C stops")

    def until(self, words: str) -> str:
        """All it says up to the line with these words."""
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return "".join(lines)
        raise AssertionError(f"it ended without saying {words!r}:\n{''.join(lines)}")

    def child(self, words: str) -> psutil.Process:
        """The child whose command line has these words."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if words in " ".join(child.cmdline()))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up"))
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def test_it_says_where_everything_listens_and_how_to_send_to_it(up: Up) -> None:
    clickhouse = re.search(r"ClickHouse +(http://127\.0\.0\.1:\d+)", up.said)
    metrics = re.search(r"Metrics +(http://\S+)", up.said)
    bootstrap = re.search(r"Kafka +(127\.0\.0\.1:\d+)", up.said)
    assert clickhouse
    assert metrics
    assert bootstrap
    tables = urllib.request.urlopen(f"{clickhouse[1]}/?default_format=JSON", b"SHOW TABLES FROM spanloom").read()
    assert {"spans", "traces", "panes"} <= {row["name"] for row in json.loads(tables)["data"]}
    assert b"spanloom_" in urllib.request.urlopen(metrics[1]).read()
    assert f"export SPANLOOM_KAFKA_BOOTSTRAP={bootstrap[1]} SPANLOOM_SERVICE=" in up.said
    assert re.search(r"pip install \S+", up.said)


def test_a_second_one_on_the_same_folder_is_refused(up: Up) -> None:
    done = subprocess.run(UP, env=environment(up.data), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("spanloom: another `spanloom up` uses ")
    assert "SPANLOOM_STACK_DATA" in done.stderr
    assert done.stderr.count("\n") == 1


def found(up: Up) -> dict[str, str]:
    """The variables that lead to what it runs."""
    return {
        f"SPANLOOM_{name}": url[1]
        for name, pattern in (("KAFKA_BOOTSTRAP", r"Kafka +(\S+)"), ("CLICKHOUSE_URL", r"ClickHouse +(\S+)"))
        if (url := re.search(pattern, up.said))
    }


def test_what_a_probe_reads_of_gpus_and_machine_is_in_the_minutes_of_clickhouse(up: Up) -> None:
    known, stop, said, host = found(up), threading.Event(), list[str](), uuid.uuid4().hex
    kafka = known["SPANLOOM_KAFKA_BOOTSTRAP"]
    settings = ProbeSettings(kafka_bootstrap=kafka, host=host, probe_metrics_port=0)
    run(settings, stop, said.append, Watched(stop, said))
    asked = f"SELECT quantity, gpu_id, readings, failed, mean FROM samples_1m WHERE host = '{host}' FORMAT JSON"
    rows: list[dict[str, Any]] = []
    while len(rows) < 12:  # six quantities of two GPUs, and the machine's own
        with urllib.request.urlopen(f"{known['SPANLOOM_CLICKHOUSE_URL']}/?database=spanloom", asked.encode()) as answer:
            rows = json.load(answer)["data"]
    of = {(row["gpu_id"], row["quantity"]): row for row in rows}
    assert of["0", "gpu_utilization"]["mean"] == 0.45  # of 40 % and 50 %
    assert (int(of["1", "gpu_power"]["failed"]), of["1", "gpu_power"]["mean"]) == (READINGS, None)
    assert of["", "memory_used"]["mean"] > 0


def test_a_canary_flies_from_the_producer_to_the_reader(up: Up) -> None:
    canary = [*UP[:-1], "canary", "--timeout", "60"]
    done = subprocess.run(canary, env=environment(up.data, **found(up)), capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert re.fullmatch(r"[0-9a-f]{32}", said["trace"])
    acknowledged, stored, assembled = (float(said[name].removesuffix(" s")) for name in list(said)[1:])
    assert 0 < acknowledged < min(stored, assembled)


def test_a_killed_sink_comes_back_and_all_end_on_sigterm(up: Up) -> None:
    up.child("main() sink").kill()
    assert "sink ended by signal 9; starting it again in 0.5 s" in up.until("sink ended")
    children = psutil.Process(up.process.pid).children(recursive=True)
    up.process.send_signal(signal.SIGTERM)
    rest, _ = up.process.communicate(timeout=60)
    assert rest.endswith("stopping; the state is kept\n")
    assert up.process.returncode == 0
    assert not [child for child in children if child.is_running()]


@pytest.mark.parametrize(
    ("port", "instead"), [("SPANLOOM_KAFKA_PORT", "_BOOTSTRAP"), ("SPANLOOM_CLICKHOUSE_PORT", "_URL")]
)
def test_a_taken_port_is_one_line_that_names_the_variable(tmp_path: Path, port: str, instead: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = str(server.getsockname()[1])
        done = subprocess.run(
            UP, env=environment(tmp_path, **{port: number}), capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"spanloom: port {number} on 127.0.0.1 is taken: set {port} to another")
    assert instead in done.stderr
    assert done.stderr.count("\n") == 1
