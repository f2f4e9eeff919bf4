#!/bin/sh
# Makes an environment with OpenTelemetry's packages and without Spanloom, in which the services of this folder run; says where it is.
set -eu
cd "$(dirname "$0")/../.."
lock=examples/otel_service/requirements.lock
home=$PWD/.venv-compat/otel_service
if [ ! "$home/.ready" -nt $lock ]; then
    printf 'spanloom: installing the packages of an OpenTelemetry application into %s ...\n' "$home" >&2
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python "$home"
    VIRTUAL_ENV=$home .venv/bin/uv pip install --quiet --require-hashes --requirement $lock
    touch "$home/.ready"
fi
printf '%s\n' "$home"
