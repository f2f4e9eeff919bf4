#!/bin/sh
# Watches a real SQL database, cache and vector store, by the instrumentations that are there for them: an environment of their own.
set -eu
cd "$(dirname "$0")/../../.."
home=$(sh tests/compat/environment.sh stores "clients of stores")
"$home/bin/python" -m pytest --confcutdir tests/compat/stores tests/compat/stores
