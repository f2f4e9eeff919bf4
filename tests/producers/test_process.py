"""Real processes against a real broker: how they end and fork, told by the ledger in the topic."""

import socket
import time

import pytest
from spanloom import topics_command
from spanloom_schemas.partitioning import partition
from spanloom_schemas.settings import KafkaSettings

from tests.producers.host import MAKE, READY, START, run
from tests.producers.topic import balanced, epochs, messages

LATER = "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()"


@pytest.fixture(scope="module")
def broker(kafka: str) -> str:
    topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
    return kafka


def test_spans_arrive_in_their_partitions(broker: str) -> None:
    service, ended = run(READY + "make(699)", broker)
    assert (ended.returncode, ended.stderr) == (0, "")
    found = messages(broker, service)
    balanced([batch for _, batch in found], 700)
    spans = [(at, span) for at, batch in found for span in batch["spans"]]
    assert all(at == partition(span["trace_id"], 4) for at, span in spans)
    assert {span["kind"] for _, span in spans} == {"llm"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("make(50)\nsys.exit(3)", 3),
        ("make(50)\nraise RuntimeError", 1),
        ("make(50)\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)", -15),
        (f"make(50)\n{LATER}\nthreading.Event().wait(60)", -15),
        ("make(40)\nspanloom.flush()\nmake(10)\nspanloom.shutdown()\nspanloom.shutdown()", 0),
        ("t = threading.Timer(0.3, make, (50,))\nt.start()", 0),
        ("import atexit\natexit.register(make, 50)", 0),
    ],
    ids=["exit", "exception", "sigterm", "sigterm while waiting", "shutdown", "a thread outlives main", "atexit"],
)
def test_a_process_that_ends_flushes_and_says_goodbye(broker: str, code: str, status: int) -> None:
    service, ended = run(READY + code, broker)
    assert ended.returncode == status
    (life,) = epochs(broker, service)
    balanced(life, 51)


def test_a_host_that_handles_sigterm_itself_keeps_its_handler(broker: str) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nspanloom.configure()\n" + READY + "make(5)\n"
    service, ended = run(code + "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)", broker)
    assert ended.returncode == 7
    balanced(max(epochs(broker, service), key=lambda life: life[-1]["made"]), 6)


def test_a_forked_child_lives_a_life_of_its_own(broker: str) -> None:
    code = (
        READY
        + """
make(9)
with spanloom.span("open at the fork"):
    pid = os.fork()
    make(20 if pid else 30, "parent" if pid else "child")
if pid:
    os.waitpid(pid, 0)
"""
    )
    service, ended = run(code, broker)
    assert (ended.returncode, ended.stderr) == (0, "")
    lives = sorted(epochs(broker, service), key=lambda life: life[-1]["made"])
    assert len(lives) == 2
    for life, made in zip(lives, (30, 31), strict=True):
        balanced(life, made)
    spans = [span for life in lives for batch in life for span in batch["spans"]]
    assert len({span["span_id"] for span in spans}) == 61
    assert [span["name"] for span in spans].count("open at the fork") == 1
    root = next(span for span in spans if span["name"] == "open at the fork")
    children = [span for span in spans if span["name"] == "child"]
    assert {span["parent_id"] for span in children} == {root["span_id"]}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_flush(broker: str, method: str) -> None:
    again = repr(START + MAKE) if method == "spawn" else "''"  # a spawned worker starts from nothing
    code = f"""
import multiprocessing
context = multiprocessing.get_context({method!r})
make(5)
space = globals() if {method!r} == "fork" else {{}}
workers = [context.Process(target=exec, args=({again} + "make(7)", space)) for _ in range(2)]
for worker in workers: worker.start()
for worker in workers: worker.join()
"""
    service, ended = run(code, broker)
    assert (ended.returncode, ended.stderr) == (0, "")
    lives = sorted(epochs(broker, service), key=lambda life: life[-1]["made"])
    assert [life[-1]["made"] for life in lives] == [5, 7, 7]
    for life in lives:
        balanced(life, life[-1]["made"])


def test_spans_of_a_signal_handler_a_finalizer_and_a_log_handler_arrive(broker: str) -> None:
    code = (
        READY
        + """
import gc, logging
alive = set()
class Loud:
    def __init__(self): alive.add(id(self))
    def __del__(self): make(1, "finalizer"); alive.discard(id(self))
class Handler(logging.Handler):
    def emit(self, record): make(1, "log handler")
logging.getLogger().addHandler(Handler())
signal.signal(signal.SIGALRM, lambda *_: make(1, "signal"))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(2000):
    loud = Loud(); loud.me = loud
    make(1)
    logging.warning("x")
signal.setitimer(signal.ITIMER_REAL, 0)
del loud
while alive: gc.collect()  # it does nothing while another thread collects
"""
    )
    service, ended = run(code, broker)
    assert ended.returncode == 0, ended.stderr
    (life,) = epochs(broker, service)
    balanced(life, life[-1]["made"])
    names = [span["name"] for batch in life for span in batch["spans"]]
    assert (names.count("x"), names.count("finalizer"), names.count("log handler")) == (2001, 2000, 2000)
    assert names.count("signal") > 0


def test_without_kafka_the_host_goes_on_and_the_buffer_stays_bounded() -> None:
    code = """
make(20000)
while sum(spanloom.dropped().values()) < 18976: time.sleep(0.01)
spanloom.shutdown()
print(spanloom.dropped())
"""
    _, ended = run(code, "127.0.0.1:1", SPANLOOM_BUFFER_BYTES=str(1024 * 1024))
    assert ended.returncode == 0
    assert ended.stdout.strip() == "{'queue_full': 18976, 'unreachable': 1024}"
    assert [line.split(";")[0] for line in ended.stderr.splitlines() if "not to be had" in line]
    assert len(ended.stderr.splitlines()) == 2  # librdkafka's own lines stay off the host's stderr


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "registry"])
def test_who_does_not_answer_does_not_hold_up_the_end(protocol: str) -> None:
    """The promise is 2 s; the bound here leaves a busy machine some, and is below every time-out behind it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = {"SPANLOOM_KAFKA_SECURITY_PROTOCOL": protocol}
        if protocol == "registry":
            settings = {"SPANLOOM_SCHEMA_REGISTRY_URL": f"http://{address}"}
        _, ended = run("make(50)\ntime.sleep(1)\nprint(time.monotonic(), flush=True)", address, **settings)
        took = time.monotonic() - float(ended.stdout)
    assert ended.returncode == 0
    assert took < 4.5
    assert "50 of 50 spans were dropped: {'unreachable': 50}" in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("SPANLOOM_BUFFER_BYTES", "many"), ("SPANLOOM_SERVISE", "x"), ("SPANLOOM_USER_PEPPER_FILE", "/none")],
)
def test_a_wrong_variable_is_one_line_and_the_host_goes_on(name: str, value: str) -> None:
    _, ended = run("make(3)\nprint(spanloom.dropped())", "127.0.0.1:1", **{name: value})
    assert (ended.returncode, ended.stdout.strip()) == (0, "{'disabled': 3}")
    (line,) = ended.stderr.splitlines()
    assert name in line


def test_a_disabled_producer_connects_to_nothing_and_counts() -> None:
    code = "make(4)\nprint(threading.active_count(), spanloom.dropped(), 'confluent_kafka' in sys.modules)"
    _, ended = run(code, "127.0.0.1:1", SPANLOOM_DISABLED="true")
    assert ended.stdout.strip() == "1 {'disabled': 4} False"
