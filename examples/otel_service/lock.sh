#!/bin/sh
# Resolves requirements.in into requirements.lock.
set -eu
cd "$(dirname "$0")/../.."
folder=examples/otel_service
.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 \
    $folder/requirements.in --output-file $folder/requirements.lock >/dev/null
