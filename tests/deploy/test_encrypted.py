"""Every client against a broker that speaks TLS and wants to know who asks, and ClickHouse behind HTTPS and a password.

The broker and the engine are the real ones; the certificates are made here. All clients are processes of their own, as
users run them, at debug level: what they log is searched for the passwords.
"""

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from spanloom_schemas import topics
from spanloom_schemas.settings import read
from spanloom_stack import kafka as broker
from spanloom_stack import net
from spanloom_stack.settings import StackSettings
from spanloom_stack.supervise import Service, Supervisor
from spanloom_traces.connection import connect
from spanloom_viewer.settings import ViewerSettings

PASSWORD, WRONG = "Tr0ub4dor-and-3", "c0rrect-h0rse"
SECRETS = (PASSWORD, WRONG, "s3cret-pepper", base64.b64encode(f"ann:{PASSWORD}".encode()).decode())
DEBUG = """
import logging, spanloom_processors.logs
logging.basicConfig(level=logging.DEBUG)
spanloom_processors.logs.configure = lambda: None
"""
PLAIN = "from spanloom.cli import main; main()"
COMMAND = f"{DEBUG}\n{PLAIN}"
PRODUCE = f"""{DEBUG}
import spanloom
spanloom.configure(service="encrypted")
for _ in range(20):
    with spanloom.span("request", event_type="request"), spanloom.span("search", event_type="retrieval"):
        pass
assert spanloom.flush(10), spanloom.dropped()
"""
PRODUCE_IN_VAIN = """
import spanloom, sys
spanloom.configure(service="in vain")
with spanloom.span("request"):
    pass
spanloom.flush(8)
sys.stderr.flush()
import os
os._exit(1)  # what is dropped at the end is another line
"""

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificates, is absent"
)
Environment = dict[str, str]


class Listeners(NamedTuple):
    """Where the broker wants a password, and where a certificate."""

    sasl: str
    certificate: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.pem`, another authority's `other.pem`, and of `server` and `client` certificate and key."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str, *arguments: str) -> None:
        new = [
            "openssl",
            "req",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]
        out = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *arguments]
        subprocess.run([*new, *out], cwd=folder, check=True, capture_output=True)

    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE", "-addext"]
    make("ca")
    make("other")
    make("server", *signed, "subjectAltName=IP:127.0.0.1")
    make("client", *signed, "extendedKeyUsage=clientAuth")
    return folder


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Listeners]:
    """A broker that wants a user's password on one TLS listener, and a client's certificate on another."""
    folder = tmp_path_factory.mktemp("kafka")
    installation = broker.install(StackSettings().cache)
    properties = broker.prepare(installation, folder / "data", 0)
    plaintext = broker.bootstrap(properties)
    listening = Listeners(*(f"127.0.0.1:{net.claim(0)}" for _ in Listeners._fields))
    _encrypt(properties, listening, certificates)
    service = Service("kafka", broker.command(installation, properties), lambda log: net.kafka_answers(plaintext))
    with Supervisor(folder) as supervisor:
        supervisor.start(service)
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users = [UserScramCredentialUpsertion("ann", scram, PASSWORD.encode())]
        admin = AdminClient({"bootstrap.servers": plaintext})
        admin.alter_user_scram_credentials(users)["ann"].result(20)
        yield listening


def _encrypt(properties: Path, listening: Listeners, certificates: Path) -> None:
    """Add the encrypted listeners to a prepared broker; of two lines with one key the later one holds."""
    store = certificates / "server.store.pem"
    store.write_text((certificates / "server.key").read_text() + (certificates / "server.pem").read_text())
    before = dict(line.split("=", 1) for line in properties.read_text().splitlines())
    added = f"SASL_SSL://{listening.sasl},SSL://{listening.certificate}"
    security, module = "org.apache.kafka.common.security", "sasl.jaas.config"
    lines = {
        "listeners": f"{before['listeners']},{added}",
        "advertised.listeners": f"{before['advertised.listeners']},{added}",
        "listener.security.protocol.map": f"{before['listener.security.protocol.map']},SASL_SSL:SASL_SSL,SSL:SSL",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        f"listener.name.sasl_ssl.plain.{module}": f'{security}.plain.PlainLoginModule required user_bob="{PASSWORD}";',
        f"listener.name.sasl_ssl.scram-sha-512.{module}": f"{security}.scram.ScramLoginModule required;",
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": store,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certificates / "ca.pem",
    }
    with properties.open("a") as file:
        file.writelines(f"{key}={value}\n" for key, value in lines.items())


@pytest.fixture(scope="module")
def https(clickhouse: str, certificates: Path) -> Iterator[str]:
    """The URL of a ClickHouse that speaks TLS only and lets in `ann` with her password only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    loop, proxy = asyncio.new_event_loop(), Proxy(clickhouse)
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


class Proxy:
    """What stands in front of a server to end TLS; it refuses a wrong password as ClickHouse does."""

    def __init__(self, plain: str) -> None:
        self.plain = urlsplit(plain)
        self.known = b"basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).lower()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self.known in head.lower():
                await self._pass_on(head, reader, writer)
            else:
                said = b"Code: 516. DB::Exception: ann: Authentication failed. (AUTHENTICATION_FAILED)"
                kind = b"X-ClickHouse-Exception-Code: 516\r\nConnection: close\r\nContent-Length: %d" % len(said)
                writer.write(b"HTTP/1.1 403 Forbidden\r\n%b\r\n\r\n%b" % (kind, said))
                await writer.drain()
        writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_connection(self.plain.hostname, self.plain.port)
        out.write(head)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while some := await source.read(1 << 16):
                    target.write(some)
                    await target.drain()
            target.close()

        await asyncio.gather(copy(reader, out), copy(back, writer))


@pytest.fixture
def environment(listeners: Listeners, https: str, certificates: Path) -> Environment:
    """What a user sets to reach both: over TLS, by passwords."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
    return clean | {
        "SPANLOOM_KAFKA_BOOTSTRAP": listeners.sasl,
        "SPANLOOM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "SPANLOOM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "SPANLOOM_KAFKA_SASL_USERNAME": "ann",
        "SPANLOOM_KAFKA_SASL_PASSWORD": PASSWORD,
        "SPANLOOM_KAFKA_CA_FILE": str(certificates / "ca.pem"),
        "SPANLOOM_CLICKHOUSE_URL": https,
        "SPANLOOM_CLICKHOUSE_USER": "ann",
        "SPANLOOM_CLICKHOUSE_PASSWORD": PASSWORD,
        "SPANLOOM_CLICKHOUSE_CA_FILE": str(certificates / "ca.pem"),
        "SPANLOOM_USER_PEPPER": "s3cret-pepper",
        "SPANLOOM_METRICS_PORT": "0",
        "SPANLOOM_SINK_METRICS_PORT": "0",
        "POLARS_MAX_THREADS": "1",
    }


def run(environment: Mapping[str, str], *arguments: str, code: str = COMMAND) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `spanloom` with these arguments."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    return done.returncode, done.stdout, done.stderr


def certified(environment: Environment, listeners: Listeners, certificates: Path) -> Environment:
    """The same cluster for who has a certificate instead of a password."""
    kept = {name: value for name, value in environment.items() if not name.startswith("SPANLOOM_KAFKA_SASL_")}
    return kept | {
        "SPANLOOM_KAFKA_BOOTSTRAP": listeners.certificate,
        "SPANLOOM_KAFKA_SECURITY_PROTOCOL": "SSL",
        "SPANLOOM_KAFKA_CERT_FILE": str(certificates / "client.pem"),
        "SPANLOOM_KAFKA_KEY_FILE": str(certificates / "client.key"),
    }


def in_files(environment: Environment, folder: Path) -> Environment:
    """The same with every secret in a file."""
    found = dict(environment)
    for name in ("KAFKA_SASL_PASSWORD", "CLICKHOUSE_PASSWORD", "USER_PEPPER"):
        file = folder / name
        file.write_text(found.pop(f"SPANLOOM_{name}") + "\n")
        found[f"SPANLOOM_{name}_FILE"] = str(file)
    return found


def worker(name: str, environment: Environment) -> Service:
    command = [sys.executable, "-c", COMMAND, name.partition("-")[0]]
    return Service(name, command, lambda log: "ready group=" in log, environment)


def test_spans_travel_encrypted_from_producer_to_tables_and_back(
    environment: Environment, listeners: Listeners, certificates: Path, tmp_path: Path
) -> None:
    by_certificate = certified(environment, listeners, certificates)
    by_plain = environment | {"SPANLOOM_KAFKA_SASL_MECHANISM": "PLAIN", "SPANLOOM_KAFKA_SASL_USERNAME": "bob"}
    by_scram = in_files(environment, tmp_path)
    assert run(by_plain, "topics", "create")[0] == 0
    assert run(by_certificate, "topics", "check") == (0, f"{len(topics.load())} topics are as they should be\n", "")
    with Supervisor(tmp_path / "logs") as line:
        line.start(
            worker("processor-1", by_scram),
            worker("processor-2", by_certificate),  # each has partitions of its own
            worker("sink", by_certificate),
        )
        with ThreadPoolExecutor() as pool:
            made = [pool.submit(run, how, code=PRODUCE) for how in (by_scram, by_certificate, by_plain)]
        for producer in made:
            assert producer.result()[0] == 0, producer.result()
        until = time.monotonic() + 60
        while (found := stored(by_scram)) != [120, 60, 120]:
            assert time.monotonic() < until, found
            time.sleep(0.3)
    for log in (tmp_path / "logs").iterdir():
        text = log.read_text()
        assert "DEBUG" in text
        assert not any(secret in text for secret in SECRETS), log


def stored(environment: Environment) -> list[int]:
    """Spans, whole traces and spans in panes, as a reader finds them."""
    spans = "(SELECT count() FROM spans WHERE service = 'encrypted')"
    traces = "(SELECT count() FROM trace_summaries WHERE service = 'encrypted' AND state = 'complete')"
    panes = "(SELECT sum(spans) FROM panes FINAL WHERE service = 'encrypted')"
    with connect(read(ViewerSettings, environment)) as client:
        return list(client.query(f"SELECT {spans} AS a, {traces} AS b, {panes} AS c").result_rows[0])


def test_a_wrong_password_authority_or_protocol_is_one_line_within_seconds(
    environment: Environment, certificates: Path
) -> None:
    unset = ("CA_FILE", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD")
    wrongs = {
        "SPANLOOM_KAFKA_SASL_PASSWORD": environment | {"SPANLOOM_KAFKA_SASL_PASSWORD": WRONG},
        "SPANLOOM_KAFKA_CA_FILE": environment | {"SPANLOOM_KAFKA_CA_FILE": str(certificates / "other.pem")},
        "SPANLOOM_KAFKA_SECURITY_PROTOCOL": environment
        | {"SPANLOOM_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
        | {f"SPANLOOM_KAFKA_{name}": "" for name in unset},
    }
    # One question, `cluster.connect`, stands before all commands; the producer listens by itself.
    commands = dict(zip(wrongs, (["processor"], ["sink"], ["topics", "check"]), strict=True))
    with ThreadPoolExecutor(3) as pool:
        ended = [
            *((name, pool.submit(run, wrong, *commands[name], code=PLAIN)) for name, wrong in wrongs.items()),
            *((name, pool.submit(run, wrong, code=PRODUCE_IN_VAIN)) for name, wrong in wrongs.items()),
        ]
    for name, end in ended:
        status, out, said = end.result()  # `run` does not wait for ever
        assert (status, out) == (1, ""), said
        *before, last = said.splitlines()
        assert name in last, said
        # On a busy machine the producer may say that it has no answer before it hears why.
        assert len(before) <= 1, said
        assert all("is not to be had" in line for line in before), said


def test_a_database_that_refuses_is_one_line_that_names_the_setting(
    environment: Environment, certificates: Path
) -> None:
    wrongs = {
        "SPANLOOM_CLICKHOUSE_PASSWORD": WRONG,
        "SPANLOOM_CLICKHOUSE_CA_FILE": str(certificates / "other.pem"),
        "SPANLOOM_CLICKHOUSE_URL": environment["SPANLOOM_CLICKHOUSE_URL"].replace("https", "http"),
    }
    with ThreadPoolExecutor() as pool:
        ended = {
            (name, arguments): pool.submit(run, environment | {name: value}, *arguments, code=PLAIN)
            for name, value in wrongs.items()
            for arguments in (("migrate",), ("sql", "SELECT 1"))
        }
    for (name, _), end in ended.items():
        status, out, said = end.result()
        assert (status, out) == (1, ""), said
        assert len(said.splitlines()) == 1, said
        assert name in said, said


def test_a_sink_that_is_refused_says_why_and_waits(environment: Environment) -> None:
    """It may be let in any moment, and Kafka keeps what it cannot store."""
    environment |= {"SPANLOOM_CLICKHOUSE_PASSWORD": WRONG}
    with subprocess.Popen([sys.executable, "-c", PLAIN, "sink"], env=environment, stderr=subprocess.PIPE) as sink:
        assert sink.stderr is not None
        said = sink.stderr.readline().decode()
        assert sink.poll() is None
        sink.terminate()
        assert sink.wait(30) == 0
    assert "SPANLOOM_CLICKHOUSE_PASSWORD" in said
    assert not any(secret in said for secret in SECRETS)
