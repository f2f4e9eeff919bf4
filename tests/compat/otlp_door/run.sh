#!/bin/sh
# Runs an application that knows OpenTelemetry alone, in an environment of its own, through the OTLP door on the embedded stack.
set -eu
cd "$(dirname "$0")/../../.."
home=$(sh examples/otel_service/environment.sh)
OTEL_SERVICE_HOME=$home .venv/bin/python -m pytest tests/compat/otlp_door
