#!/bin/sh
# Makes .venv-compat from its own hash-locked list: SDKs and instrumentations that the product itself never needs.
set -eu
cd "$(dirname "$0")/.."
printf 'spanloom: installing SDKs and instrumentations to test with ...\n'
[ -x .venv-compat/bin/python ] || "${PYTHON:-python3}" -m venv .venv-compat
export VIRTUAL_ENV="$PWD/.venv-compat"
.venv/bin/uv pip install --quiet --require-hashes --requirement compat.requirements.lock
.venv/bin/uv pip install --quiet --no-build-isolation --no-deps --editable schemas --editable producers
