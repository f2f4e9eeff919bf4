"""A server that loads the application, producer and all, before it forks its workers: each process has its ledger."""

import os
import signal
import subprocess
import urllib.request
import uuid
from pathlib import Path

import pytest
from spanloom import topics_command
from spanloom_schemas.settings import KafkaSettings

from tests.producers.topic import balanced, epochs

PYTHON = os.environ.get("GUNICORN_PYTHON")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="make test-compat installs gunicorn")
APPLICATION = """
import os, spanloom
spanloom.configure()
with spanloom.span("preloaded"): pass
assert spanloom.flush(30)  # so that there is a sender, and a connection, to leave behind
def application(environ, start_response):
    with spanloom.span("serve", event_type="request"), spanloom.span("work"):
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
REQUESTS = 60


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_workers_forked_from_a_running_producer_each_close_a_ledger(kafka: str, tmp_path: Path, kind: str) -> None:
    assert PYTHON is not None
    topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
    service = uuid.uuid4().hex
    (tmp_path / "application.py").write_text(APPLICATION)
    env = {**os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": kafka, "SPANLOOM_SERVICE": service}
    options = ["--preload", "--workers", "3", "--worker-class", kind, "--bind", "127.0.0.1:0", "application"]
    command = [PYTHON, "-m", "gunicorn", *options]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        while sum("Booting worker" in line for line in lines) < 3:
            lines.append(server.stderr.readline())
            assert lines[-1], lines
        url = next(word for line in lines for word in line.split() if word.startswith("http://"))
        pids = set()
        for _ in range(REQUESTS):
            with urllib.request.urlopen(url, timeout=30) as answer:
                pids.add(answer.read())
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "Traceback" not in said
    before, *workers = sorted(epochs(kafka, service), key=lambda life: life[0]["sent"])
    balanced(before, 1)
    assert len(workers) == len(pids)
    for life in workers:
        balanced(life, life[-1]["made"])
        assert life[-1]["dropped"] == []
    assert sum(life[-1]["made"] for life in workers) == 2 * REQUESTS
    spans = [span for life in workers for batch in life for span in batch["spans"]]
    assert len({span["span_id"] for span in spans}) == 2 * REQUESTS
    assert len({span["trace_id"] for span in spans}) == REQUESTS
