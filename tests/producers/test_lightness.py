import subprocess
import sys

HEAVY = (
    "polars",
    "faust",
    "mode",
    "aiokafka",
    "clickhouse_connect",
    "rich",
    "click",
    "fastavro",
    "confluent_kafka",
    "asyncio",
)


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_spanloom_imports_nothing_heavy() -> None:
    assert run(f"import sys, spanloom; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_sending_imports_neither_polars_nor_click() -> None:
    code = "import sys, spanloom.sender, spanloom.process; print([n for n in {} if n in sys.modules])"
    assert run(code.format(("polars", "faust", "aiokafka", "clickhouse_connect", "rich", "click"))) == "[]"


def test_importing_spanloom_starts_no_thread_and_takes_no_signal() -> None:
    code = "import signal, threading, spanloom; print(threading.active_count(), signal.getsignal(signal.SIGTERM))"
    assert run(code) == f"1 {0}"
