import subprocess
import sys

WATCHED = ["spanloom.httpx", "spanloom.requests", "spanloom.threads"]
REST = "spanloom.openai,spanloom.anthropic,spanloom.httpx2"
"""What may be installed, or not, where these tests run."""


def run(code: str) -> str:
    off = f"import os; os.environ['OTEL_PYTHON_DISABLED_INSTRUMENTATIONS'] = {REST!r}\n"
    command = [sys.executable, "-c", off + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_one_line_watches_what_is_installed_and_a_second_one_changes_nothing() -> None:
    code = """
import spanloom, httpx
first, send = spanloom.instrument(), httpx.Client.send
assert spanloom.instrument() == first and httpx.Client.send is send
print(*first)
"""
    assert run(code).split() == WATCHED


def test_what_the_host_leaves_off_stays_off() -> None:
    code = """
import httpx
os.environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] += ", spanloom.httpx, spanloom.threads"
send = httpx.Client.send
import spanloom
print(*spanloom.instrument())
assert httpx.Client.send is send
"""
    assert run(code) == "spanloom.requests"


def test_without_opentelemetry_our_own_part_is_on() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import spanloom
print(*spanloom.instrument())
"""
    assert run(code).split() == WATCHED
