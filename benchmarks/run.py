"""Run every benchmark in turn and print one line a figure: ``name value unit``.

Each benchmark is a program of its own beside this file that prints such lines on stdout; whatever else it has to say
goes to stderr. The exit code is 1 when one of them failed.
"""

import re
import subprocess
import sys
from pathlib import Path

FIGURE = re.compile(r"^[a-z0-9_.]+ [0-9.,]+ \S+$")
HERE = Path(__file__).parent
PROGRAMS = [
    "decode",
    "core",
    "alerts",
    "producer",
    "otel",
    "langfuse_sdk",
    "processors",
    "sink",
    "boards",
    "line",
    "start",
]


def run(program: str) -> bool:
    """Run one benchmark, pass its figures on as they come, and say whether it ended well."""
    with subprocess.Popen(
        [sys.executable, str(HERE / f"{program}.py")], stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", file=sys.stdout if FIGURE.match(line.strip()) else sys.stderr, flush=True)
    if child.returncode:
        print(f"spanloom: benchmarks/{program}.py failed with exit code {child.returncode}", file=sys.stderr)
    return child.returncode == 0


def main() -> int:
    """Run the named benchmarks, or all."""
    programs = sys.argv[1:] or PROGRAMS
    ended_well = [run(program) for program in programs]
    return 0 if all(ended_well) else 1


if __name__ == "__main__":
    sys.exit(main())
