#!/bin/sh
# Runs the examples of web frameworks, which the product itself never needs, by their real servers: an environment of their own.
set -eu
cd "$(dirname "$0")/../../.."
home=$(sh tests/compat/environment.sh frameworks "web frameworks")
"$home/bin/python" -m pytest --confcutdir tests/compat/frameworks tests/compat/frameworks
