import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from spanloom_stack.supervise import Service, StartFailed, Supervisor


def python(name: str, code: str, **options: float) -> Service:
    """A service that is ready once it has printed `ready`."""
    return Service(name, [sys.executable, "-c", textwrap.dedent(code)], lambda log: "ready" in log, **options)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


SLEEPER = "import time; print('ready'); time.sleep(600)"


def test_services_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(open({path!r}, "a").write({name!r}) and 0))
        print("ready")
        signal.pause()
    """
    with Supervisor(tmp_path) as supervisor:
        for name in "abc":
            supervisor.start(python(name, textwrap.dedent(code).format(path=str(order), name=name)))
    assert order.read_text() == "cba"


def test_a_crashed_service_is_reported_and_started_again(tmp_path: Path) -> None:
    reports: list[str] = []
    with Supervisor(tmp_path, reports.append) as supervisor:
        supervisor.start(python("worker", SLEEPER))
        first = supervisor.pids()["worker"]
        os.kill(first, signal.SIGKILL)
        seen: list[int] = []

        def came_back() -> bool:
            seen.extend(pid for pid in supervisor.pids().values() if pid != first)
            return bool(seen)

        supervisor.watch(until=came_back)
    (report,) = reports
    assert report.startswith("worker ended by signal 9; starting it again in 0.5 s, see ")


def test_a_service_that_keeps_crashing_is_started_ever_later(tmp_path: Path) -> None:
    reports: list[str] = []
    with Supervisor(tmp_path, reports.append) as supervisor:
        supervisor.start(python("worker", "print('ready'); input()"))
        supervisor.watch(until=lambda: len(reports) == 3)
    assert [report.split(" in ")[1].split(",")[0] for report in reports] == ["0.5 s", "1 s", "2 s"]


def test_a_service_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(StartFailed, match=r"worker ended with code 1 before it was ready: no such thing .*worker\.log"),
    ):
        supervisor.start(python("worker", "import sys; sys.exit('no such thing')"))


def test_a_service_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(StartFailed, match="worker was not ready after 0 s"),
    ):
        supervisor.start(python("worker", "import time; time.sleep(600)", start_timeout=0.2))


def test_what_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    reports: list[str] = []
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(600)"
    with Supervisor(tmp_path, reports.append) as supervisor:
        supervisor.start(python("worker", deaf, stop_timeout=0.2))
        pid = supervisor.pids()["worker"]
    assert not running(pid)
    assert reports == ["worker did not stop in 0 s: killed"]


def test_a_logs_old_lines_do_not_make_a_new_run_ready(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("ready\n")
    with Supervisor(tmp_path) as supervisor, pytest.raises(StartFailed):
        supervisor.start(python("worker", "import time; time.sleep(600)", start_timeout=0.2))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_no_child_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    parent = f"""
        import sys, time
        from pathlib import Path
        from spanloom_stack.supervise import Service, Supervisor
        service = Service("worker", [sys.executable, "-c", {SLEEPER!r}], lambda log: "ready" in log)
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        supervisor.start(service)
        print(supervisor.pids()["worker"], flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert running(pid)
        process.kill()
    until(lambda: not running(pid))


def running(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
