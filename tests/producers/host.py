"""Services that embed the producer, as processes."""

import os
import subprocess
import sys
import uuid

START = "import os, signal, sys, threading, time, spanloom\nspanloom.configure()\n"
MAKE = "def make(n, name='x'):\n    for i in range(n):\n        with spanloom.span(name, event_type='llm'): pass\n"
READY = "make(1)\nspanloom.flush(30)\n"  # connected: on a busy machine that alone may take the two seconds of an exit


def run(code: str, bootstrap: str, **environment: str) -> tuple[str, subprocess.CompletedProcess[str]]:
    """Run a service; return its name and how it ended."""
    service = uuid.uuid4().hex
    with begun(START + MAKE + code, bootstrap, service, **environment) as process:
        try:
            out, err = process.communicate(timeout=60)
        except BaseException:
            process.kill()
            raise
    return service, subprocess.CompletedProcess(process.args, process.returncode, out, err)


def begun(code: str, bootstrap: str, service: str, **environment: str) -> subprocess.Popen[str]:
    """Start a service."""
    env = {**os.environ, "SPANLOOM_KAFKA_BOOTSTRAP": bootstrap, "SPANLOOM_SERVICE": service, **environment}
    forks_are_meant = "ignore:This process:DeprecationWarning"  # Python 3.12 and later warn of them
    command = [sys.executable, "-W", forks_are_meant, "-c", code]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
