#!/bin/sh
# Runs the tests of this folder against a real MLflow server. Two environments of their own: the server's, and the project with the client.
set -eu
cd "$(dirname "$0")/../../.."
folder=tests/compat/mlflow
home=.venv-compat/mlflow
if [ ! $home/.ready -nt requirements.lock ] || [ ! $home/.ready -nt $folder/client.lock ] || [ ! $home/.ready -nt $folder/server.lock ]; then
    printf 'spanloom: installing a real MLflow server and its client into %s (about 1 GB) ...\n' "$home"
    for part in client server; do .venv/bin/uv venv --quiet --clear --python .venv/bin/python $home/$part; done
    VIRTUAL_ENV=$PWD/$home/server .venv/bin/uv pip install --quiet --require-hashes --requirement $folder/server.lock
    VIRTUAL_ENV=$PWD/$home/client .venv/bin/uv pip install --quiet --require-hashes \
        --requirement requirements.lock --requirement $folder/client.lock
    VIRTUAL_ENV=$PWD/$home/client .venv/bin/uv pip install --quiet --no-build-isolation --no-deps \
        --editable schemas --editable producers --editable processors --editable sinks --editable dashboards --editable deploy
    touch $home/.ready
fi
MLFLOW_SERVER_PYTHON=$PWD/$home/server/bin/python $home/client/bin/python -m pytest $folder
