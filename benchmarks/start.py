"""How soon the line takes spans: `spanloom up` in an empty folder and in that of the run before, and `spanloom demo`.

Prints ``start.up_first``, ``start.up_again`` and ``start.demo``, from the command to the line that says that all is up.
The packages and the broker are installed: what the first `make` fetches is not in it.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

PORTS = ("KAFKA_PORT", "CLICKHOUSE_PORT", "METRICS_PORT", "SINK_METRICS_PORT")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="spanloom-bench-") as data:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
        environment = {**inherited, "SPANLOOM_STACK_DATA": data, **{f"SPANLOOM_{name}": "0" for name in PORTS}}
        for name in ("up_first", "up_again"):
            print(f"start.{name} {seconds('up', 'ready', environment):.1f} s", flush=True)
    print(f"start.demo {seconds('demo', 'pager are up', inherited):.1f} s")


def seconds(command: str, words: str, environment: dict[str, str]) -> float:
    """Seconds until a command of `spanloom` says these words; it is ended then."""
    begun = time.monotonic()
    run = [sys.executable, "-c", "from spanloom.cli import main; main()", command]
    with subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        assert started.stdout is not None
        said = []
        for line in started.stdout:
            said.append(line)
            if words in line:
                took = time.monotonic() - begun
                started.send_signal(signal.SIGINT)
                started.communicate(timeout=60)
                return took
    sys.exit(f"spanloom {command} ended before it was up: {''.join(said)}")


if __name__ == "__main__":
    main()
