#!/bin/sh
# Resolves client.in and server.in into their locks.
set -eu
cd "$(dirname "$0")/../../.."
folder=tests/compat/mlflow
compile() {
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate \
        --python-version 3.11 "$@" >/dev/null
}
compile --constraint requirements.lock $folder/client.in --output-file $folder/client.lock
compile $folder/server.in --output-file $folder/server.lock
