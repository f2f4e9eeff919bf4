#!/bin/sh
# Runs the producer in a server that forks. The server's environment is its own; the broker and the tests are the project's.
set -eu
cd "$(dirname "$0")/../../.."
home=$(sh tests/compat/environment.sh servers gunicorn)
GUNICORN_PYTHON=$home/bin/python .venv/bin/python -m pytest tests/compat/servers
