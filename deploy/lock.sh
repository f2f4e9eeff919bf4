#!/bin/sh
# Resolves the dependencies of all members for every platform into requirements.lock: names, versions, hashes, no addresses.
set -eu
cd "$(dirname "$0")/.."
compile() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 "$@"; }

members="spanloom spanloom-schemas spanloom-processors spanloom-sinks spanloom-viewer spanloom-stack"
# shellcheck disable=SC2046
compile $(printf -- '--no-emit-package %s ' $members) pyproject.toml --group dev --group examples --output-file requirements.lock >/dev/null
echo uv | compile - --output-file uv.requirements.lock >/dev/null
compile --constraint requirements.lock benchmarks/langfuse.in --output-file benchmarks/langfuse.lock >/dev/null
for lock in tests/compat/*/lock.sh examples/*/lock.sh; do sh "$lock"; done

# What the first `make` says it will download, measured here.
wheels=$(mktemp -d)
for list in requirements.lock uv.requirements.lock; do
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$list" --dest "$wheels"
done
du -sm "$wheels" | cut -f1 >deploy/download-megabytes
rm -r "$wheels"
