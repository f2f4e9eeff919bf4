#!/bin/sh
# Makes the environment of a folder of tests/compat (its lock, and the members that an application embeds), and says where it is.
# Usage: environment.sh FOLDER WHAT-IS-INSTALLED
set -eu
cd "$(dirname "$0")/../.."
lock=tests/compat/$1/requirements.lock
home=$PWD/.venv-compat/$1
if [ ! "$home/.ready" -nt "$lock" ] || [ ! "$home/.ready" -nt producers/pyproject.toml ]; then
    printf 'spanloom: installing %s to test with into %s ...\n' "$2" "$home" >&2
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python "$home"
    VIRTUAL_ENV=$home .venv/bin/uv pip install --quiet --require-hashes --requirement "$lock"
    VIRTUAL_ENV=$home .venv/bin/uv pip install --quiet --no-build-isolation --no-deps --editable schemas --editable producers
    touch "$home/.ready"
fi
printf '%s\n' "$home"
