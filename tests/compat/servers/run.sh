#!/bin/sh
# Runs the producer in a server that forks. The server's environment is its own; the broker and the tests are the project's.
set -eu
cd "$(dirname "$0")/../../.."
folder=tests/compat/servers
home=.venv-compat/servers
if [ ! $home/.ready -nt $folder/requirements.lock ] || [ ! $home/.ready -nt producers/pyproject.toml ]; then
    printf 'spanloom: installing gunicorn to test with into %s ...\n' "$home"
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python $home
    VIRTUAL_ENV=$PWD/$home .venv/bin/uv pip install --quiet --require-hashes --requirement $folder/requirements.lock
    VIRTUAL_ENV=$PWD/$home .venv/bin/uv pip install --quiet --no-build-isolation --no-deps --editable schemas --editable producers
    touch $home/.ready
fi
GUNICORN_PYTHON=$PWD/$home/bin/python .venv/bin/python -m pytest $folder
