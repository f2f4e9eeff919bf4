"""What a host may do to the producer, and Kafka to both: on real processes, told by the ledger in the topic."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from spanloom import topics_command
from spanloom_schemas.settings import KafkaSettings
from spanloom_stack.supervise import Supervisor

from tests.faults.proxy import Proxy
from tests.faults.stage import broker_behind_a_proxy
from tests.producers.day import lived
from tests.producers.host import MAKE, READY, START, begun, run
from tests.producers.topic import accounted, balanced, epochs

UNTIL_TOLD = """
print("ready", flush=True)
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True).start()
made = 1
while not told.is_set():
    make(20)
    made += 20
    time.sleep(0.002)
arrived = spanloom.flush(40)
print(made, arrived, spanloom.shutdown(10))
"""
"""A service that makes spans until its stdin is closed."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("broker")
    service, proxy = broker_behind_a_proxy(folder / "data")
    with closing(proxy), Supervisor(folder) as supervisor:
        supervisor.start(service)
        topics_command.apply(KafkaSettings(kafka_bootstrap=f"127.0.0.1:{proxy.port}"))
        yield proxy


@pytest.fixture
def broker(proxy: Proxy) -> Iterator[str]:
    yield f"127.0.0.1:{proxy.port}"
    proxy.heal()


def slow(proxy: Proxy) -> None:
    proxy.latency_s, proxy.bytes_a_second = 0.1, 200_000
    time.sleep(1.5)


def flapping(proxy: Proxy) -> None:
    for _ in range(4):
        proxy.refuse()
        time.sleep(0.25)
        proxy.heal()
        time.sleep(0.25)


def silent(proxy: Proxy) -> None:
    proxy.silent = True
    time.sleep(1.5)


@pytest.mark.parametrize("fault", [slow, flapping, silent])
def test_whatever_kafka_does_meanwhile_all_spans_arrive_once_it_is_well(broker: str, proxy: Proxy, fault) -> None:
    service = uuid.uuid4().hex
    with begun(START + MAKE + READY + UNTIL_TOLD, broker, service) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        fault(proxy)
        proxy.heal()
        out, _ = host.communicate(timeout=60)
    assert host.returncode == 0
    made, *arrived = out.split()
    assert arrived == ["True", "True"]
    (life,) = epochs(broker, service)
    assert life[-1]["dropped"] == []
    accounted(life, int(made))


def test_what_the_broker_finds_too_large_is_dropped_and_counted_and_the_rest_arrives(broker: str) -> None:
    code = """
import random
make(1)
spanloom.flush()
with spanloom.span("large", attributes={f"a{n}": random.randbytes(1500).hex() for n in range(10)}): pass
for _ in range(200):
    with spanloom.span("small", attributes={"a": random.randbytes(300).hex()}): pass
spanloom.flush(30)
make(30)
"""
    limit_messages(broker, 10_000)
    try:
        service, ended = run(READY + code, broker)
    finally:
        limit_messages(broker, 1_048_588)
    assert ended.returncode == 0
    assert "raise max.message.bytes of llm.spans" in ended.stderr
    (life,) = epochs(broker, service)
    accounted(life, 233)
    assert life[-1]["dropped"] == [{"reason": "too_large", "spans": 1}]


def limit_messages(bootstrap: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, "llm.spans", incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.incremental_alter_configs([topic]).values():
        done.result()


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_who_dies_at_once_leaves_a_tail_unknown(broker: str, end: str) -> None:
    service, _ = run(f"{READY}make(50)\nspanloom.flush(30)\nmake(9)\n{end}", broker)
    (life,) = epochs(broker, service)
    assert not any(batch["last"] for batch in life)
    assert [batch["sequence"] for batch in life] == list(range(len(life)))
    assert 51 <= sum(len(batch["spans"]) for batch in life) <= 60


def test_threads_that_make_spans_while_the_interpreter_ends_disturb_nothing(broker: str) -> None:
    code = (
        READY
        + """
class Last:
    def __del__(self): make(1, "finalizer of a module's object")
last = Last()
def forever():
    while True: make(1); time.sleep(0.0005)
for _ in range(4): threading.Thread(target=forever, daemon=True).start()
make(100)
"""
    )
    service = uuid.uuid4().hex
    after_ours = "import atexit\natexit.register(lambda: make(3, 'after the end'))\n"  # who comes first is called last
    with begun(after_ours + START + MAKE + code, broker, service) as host:
        _, said = host.communicate(timeout=60)
    assert host.returncode == 0
    assert "Traceback" not in said
    (life,) = epochs(broker, service)
    accounted(life, life[-1]["made"])
    names = Counter(span["name"] for batch in life for span in batch["spans"])
    assert set(names) == {"x"}
    assert names["x"] > 100


def test_two_hundred_threads_lose_nothing(broker: str) -> None:
    code = """
threads = [threading.Thread(target=make, args=(50, f"thread {n}")) for n in range(200)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    service, ended = run(READY + code, broker)
    assert (ended.returncode, ended.stderr) == (0, "")
    (life,) = epochs(broker, service)
    balanced(life, 10_001)
    spans = [span for batch in life for span in batch["spans"]]
    assert len({span["span_id"] for span in spans}) == len({span["trace_id"] for span in spans}) == 10_001
    assert {count for name, count in Counter(span["name"] for span in spans).items() if name != "x"} == {50}


def test_ten_thousand_tasks_at_once_each_keep_their_own_span(broker: str) -> None:
    code = """
import asyncio
async def task(number):
    async with spanloom.span(f"outer {number}"):
        await asyncio.sleep(0)
        async with spanloom.span(f"inner {number}"):
            await asyncio.sleep(0)
async def main():
    with spanloom.span("all"):
        await asyncio.gather(*map(task, range(10_000)))
asyncio.run(main())
"""
    service, ended = run(READY + code, broker, SPANLOOM_BUFFER_BYTES=str(64 * 1024 * 1024))  # room for all at once
    assert (ended.returncode, ended.stderr) == (0, "")
    (life,) = epochs(broker, service)
    balanced(life, 20_002)
    assert life[-1]["dropped"] == []
    spans = {span["name"]: span for batch in life for span in batch["spans"]}
    for number in range(10_000):
        outer, inner = spans[f"outer {number}"], spans[f"inner {number}"]
        assert inner["parent_id"] == outer["span_id"]
        assert outer["parent_id"] == spans["all"]["span_id"]


def test_generators_that_are_left_half_way_end_their_spans(broker: str) -> None:
    code = """
import asyncio
@spanloom.trace_llm("answer")
def answer():
    for token in range(10):
        with spanloom.span("token"): yield token
@spanloom.trace_llm("streamed")
async def streamed():
    for token in range(10):
        with spanloom.span("token"): yield token
async def main():
    for _ in range(500):
        async for _ in streamed(): break
    assert spanloom.current_span() is None
for _ in range(500):
    for _ in answer(): break
assert spanloom.current_span() is None
asyncio.run(main())
kept = answer()
next(kept)  # still at it when the interpreter ends
"""
    service, ended = run(READY + code, broker)
    assert (ended.returncode, ended.stderr) == (0, "")
    (life,) = epochs(broker, service)
    balanced(life, life[-1]["made"])
    spans = [span for batch in life for span in batch["spans"]]
    names = Counter(span["name"] for span in spans)
    assert (names["answer"], names["streamed"], names["token"]) == (500, 500, 1000)
    assert {span["status"] for span in spans} == {"unset"}


APPLICATION = """
import contextlib, os, sys
import spanloom
from spanloom.asgi import TraceMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
spanloom.configure()
async def hello(request):
    with spanloom.span("work"):
        return PlainTextResponse(str(os.getpid()))
@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    spanloom.shutdown()
app = Starlette(routes=[Route("/", hello)], lifespan=lifespan)
app.add_middleware(TraceMiddleware)
"""


def test_each_worker_of_uvicorn_closes_a_ledger_of_its_own(broker: str, tmp_path: Path) -> None:
    service = uuid.uuid4().hex
    (tmp_path / "application.py").write_text(APPLICATION)
    env = {**os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": broker, "SPANLOOM_SERVICE": service}
    command = [sys.executable, "-m", "uvicorn", "application:app", "--workers", "2", "--port", "0"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        while sum("startup complete" in line for line in lines) < 2:
            lines.append(server.stderr.readline())
        url = next(word for line in lines for word in line.split() if word.startswith("http://"))
        pids = {httpx.get(url, timeout=30).text for _ in range(40)}
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    lives = epochs(broker, service)
    assert len(lives) == 2 >= len(pids)
    for life in lives:
        balanced(life, life[-1]["made"])
    assert sum(life[-1]["made"] for life in lives) == 80


def test_a_day_of_spans_is_made_in_flat_memory_with_the_same_threads_and_descriptors(broker: str) -> None:
    """A hundredth of the day; `make soak` makes all of it."""
    day = lived(broker, 100_000)
    assert (day.made, day.stored, day.dropped) == (100_000, 100_000, 0)
    assert day.growth.flat, day.held
