"""The embedded line on a stage: real processes on free ports, proxies before broker and engine, a load, an account."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from spanloom_schemas.settings import read
from spanloom_stack import kafka, net, services
from spanloom_stack.demo.pager import Pager
from spanloom_stack.line import Line
from spanloom_stack.settings import StackSettings
from urllib3.exceptions import HTTPError

from tests.faults.children import Children
from tests.faults.proxy import Proxy
from tests.faults.receipts import Receipt
from tests.faults.receivers import Receiver, receiving
from tests.oracle.spans import Logged
from tests.oracle.truth import Place

for talkative in ("clickhouse_connect", "urllib3"):  # an engine that is away is what these tests are about
    logging.getLogger(talkative).setLevel(logging.CRITICAL)

ROOT = Path(__file__).parents[2]
RULES = Path(__file__).with_name("rules.yaml")
PORTS = ("KAFKA_PORT", "CLICKHOUSE_PORT", "METRICS_PORT", "SINK_METRICS_PORT")
ALIVE_S = 120.0
CALLS_A_SECOND = 10.0
"""Traces that come through the gateway."""


class Account(NamedTuple):
    """What a producer says that it made, and what became of it."""

    service: str
    spans: list[Any]
    """trace id, span id, name, kind, facts, and the epoch ns between which it ended"""
    arrived: bool
    dropped: dict[str, int]


class Load:
    """A process that makes traces until it is told to stop: `program` is one of this folder."""

    def __init__(
        self, stage: "Stage", program: str, service: str, seed: int, traces_a_second: float, how: object
    ) -> None:
        self.service = service
        self._account = stage.folder / f"{service}.json"
        said = (service, seed, traces_a_second, how)
        command = [sys.executable, "-m", f"tests.faults.{program}", *map(str, said)]
        self._log = (stage.folder / f"{service}.log").open("wb")
        self._process = subprocess.Popen(
            [*command, str(self._account)], env=stage.environment, cwd=ROOT, stdin=subprocess.PIPE, stderr=self._log
        )
        self._children = stage.children

    def stop(self) -> Account:
        """End it; returns once it has flushed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._children.watch(lambda: self._process.poll() is not None, 150), f"{self.service} does not end"
        self._log.close()
        assert self._process.returncode == 0, Path(self._log.name).read_text()
        *spans, end = map(json.loads, self._account.read_text().splitlines())
        return Account(self.service, spans, **end)

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Stage:
    """A running line and what a fault may do to it."""

    def __init__(
        self, folder: Path, environment: dict[str, str], children: Children, proxies: Sequence[Proxy], told: Receiver
    ) -> None:
        self.folder, self.environment, self.children = folder, environment, children
        self.broker, self.engine, self.paging = proxies
        self._receiver = told
        self.clickhouse = f"http://127.0.0.1:{self.engine.to}"
        self.door = ""
        """the URL of the gateway, where there is one"""
        self.loads: list[Load] = []
        self.accounts: list[Account] = []
        """of all loads that have ended"""
        self.former: dict[Place, list[Logged]] = {}
        """what the broker had and has no more: a deleted topic, messages past retention"""
        self.trimmed: dict[Place, int] = {}
        """where logs begin since retention took what nobody had read"""
        self.strangers: set[str] = set()
        """services whose spans a fault itself writes"""
        self.gone: list[int] = []
        """log times of what retention took before the sink had read it"""

    @property
    def bootstrap(self) -> str:
        return self.environment["SPANLOOM_KAFKA_BOOTSTRAP"]

    def gateway(self) -> services.Service:
        """The OTLP door, at an address that it keeps."""
        port = net.claim(0)
        self.door = f"http://127.0.0.1:{port}"
        said = {"SERVICE": "gateway", "GATEWAY_PORT": str(port), "GATEWAY_GRPC_PORT": "0", "GATEWAY_METRICS_PORT": "0"}
        named = {f"SPANLOOM_{name}": value for name, value in said.items()}
        return services.spanloom("gateway", "gateway", **{**self.environment, **named})

    @property
    def pager(self) -> Pager:
        """What Alertmanager took."""
        return self._receiver.pager

    def receipts(self) -> list[Receipt]:
        """All that whoever is told about alerts took, in order."""
        return self._receiver.receipts()

    def deaths(self) -> int:
        """How often a processor ended and was started again."""
        return sum(
            starts - 1 for name, starts in self.children.starts.items() if name.startswith("processor") and starts
        )

    def client(self) -> Client:
        """A client of the engine itself, past the proxy."""
        return clickhouse_connect.get_client(
            dsn=self.clickhouse, database="spanloom", autogenerate_session_id=False, send_receive_timeout=60
        )

    def ask(self, sql: str, **parameters: Any) -> Sequence[Sequence[Any]] | None:
        """The answer to a query; None while the engine is away."""
        try:
            client = self.client()
            try:
                return client.query(sql, parameters=parameters).result_rows
            finally:
                client.close()
        except (Error, HTTPError, OSError):
            return None

    def load(self, seed: int, producers: int = 2, traces_a_second: float = 25, late: float = 0.02) -> list[Load]:
        """Start producers, each a service of its own, and one by OTLP where there is a gateway.

        `late`: share of traces with a span that ends much later.
        """
        for number in range(producers):
            self.loads.append(Load(self, "producing", self._service(), seed * 1000 + number, traces_a_second, late))
        if self.door:
            self.loads.append(
                Load(self, "calling", self._service(), seed * 1000 + producers, CALLS_A_SECOND, self.door)
            )
        return self.loads

    def _service(self) -> str:
        return f"service-{len(self.accounts) + len(self.loads)}"

    def unload(self) -> list[Account]:
        """Stop all producers; returns their accounts."""
        ended = [load.stop() for load in self.loads]
        self.loads.clear()
        self.accounts += ended
        return ended

    def pids(self) -> dict[str, int]:
        """Every process that runs: the line's and the producers'."""
        return self.children.pids() | {load.service: load.pid for load in self.loads}

    def run(self, seconds: float) -> None:
        """Let time pass; what ended is started again."""
        self.children.run(seconds)

    def until(self, true: Callable[[], Any], seconds: float, what: str) -> None:
        """Wait until `true()`; fails, naming `what`, after `seconds`."""
        assert self.children.watch(lambda: bool(true()), seconds), f"after {seconds:.0f} s still not: {what}"

    def live_again(self, seconds: float = ALIVE_S) -> float:
        """Seconds from now until spans that end from now on are in `spans` and in `panes`; the load must be on."""
        begun, now, looked = time.monotonic(), time.time_ns(), 0.0

        def live() -> bool:
            nonlocal looked
            if time.monotonic() - looked < 0.2:
                return False
            found = self.ask(
                "SELECT (SELECT count() FROM spans WHERE end > fromUnixTimestamp64Nano({now:Int64})),"
                " (SELECT count() FROM panes WHERE log_clock > fromUnixTimestamp64Nano({now:Int64}))",
                now=now,
            )
            looked = time.monotonic()
            return bool(found and all(found[0]))

        self.until(live, seconds, "the line is live again")
        return time.monotonic() - begun


@contextmanager
def staged(
    folder: Path,
    report: Callable[[str], None] = print,
    gateway: bool = False,
    receiver: str = "alertmanager",
    **settings: str,
) -> Iterator[Stage]:
    """A line with its state in `folder`; `settings` are further SPANLOOM_ variables of its workers.

    `receiver`: who is told about alerts, one of `receivers.KINDS`.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
    environment = {
        **clean,
        **{f"SPANLOOM_{name}": "0" for name in PORTS},
        "SPANLOOM_STACK_DATA": str(folder),
        "SPANLOOM_RULES_FILE": str(RULES),
        **settings,
    }
    with receiving(receiver) as (told, port), ExitStack() as proxies, Children(folder / "logs", report) as children:
        broker, engine = _behind_proxies(folder, children, proxies)
        paging = proxies.enter_context(closing(Proxy(port)))
        environment |= told.settings(f"http://127.0.0.1:{paging.port}")
        environment["SPANLOOM_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{broker.port}"
        environment["SPANLOOM_CLICKHOUSE_URL"] = f"http://127.0.0.1:{engine.port}"
        line = Line.start(read(StackSettings, environment), environment, children, report)
        stage = Stage(folder, line.environment, children, (broker, engine, paging), told)
        if gateway:
            children.start(stage.gateway())
        try:
            yield stage
        finally:
            for load in stage.loads:
                load.kill()
            for proxy in (broker, engine, paging):
                proxy.heal()


def broker_behind_a_proxy(data: Path) -> tuple[services.Service, Proxy]:
    """A broker that advertises a proxy's port as its own, and the proxy."""
    installation = kafka.install(StackSettings().cache)
    properties = kafka.prepare(installation, data, port=0)
    host, _, port = kafka.bootstrap(properties).rpartition(":")
    before = Proxy(int(port))
    text = properties.read_text()
    own = f"advertised.listeners=PLAINTEXT://{host}:"
    assert f"{own}{port}\n" in text
    properties.write_text(text.replace(f"{own}{port}\n", f"{own}{before.port}\n"))
    bootstrap = f"{host}:{before.port}"
    command = kafka.command(installation, properties)
    return services.Service("kafka", command, lambda log: net.kafka_answers(bootstrap)), before


def _behind_proxies(folder: Path, children: Children, proxies: ExitStack) -> tuple[Proxy, Proxy]:
    """Start broker and engine, each with a proxy before it."""
    broker, before = broker_behind_a_proxy(folder / "kafka")
    proxies.enter_context(closing(before))
    engine, url = services.engine(folder / "clickhouse", port=0)
    children.start(broker, engine)
    return before, proxies.enter_context(closing(Proxy(int(url.rpartition(":")[2]))))
