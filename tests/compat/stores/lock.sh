#!/bin/sh
# Resolves requirements.in, and what the producer needs beside it, into requirements.lock.
set -eu
cd "$(dirname "$0")/../../.."
folder=tests/compat/stores
.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 \
    --no-emit-package spanloom --no-emit-package spanloom-schemas --constraint tests/compat/instrumentations/requirements.lock \
    $folder/requirements.in producers/pyproject.toml --output-file $folder/requirements.lock >/dev/null
