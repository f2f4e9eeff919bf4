#!/bin/sh
# Runs the tests of this folder under real SDKs and instrumentations, which the product itself never needs: an environment of their own.
set -eu
cd "$(dirname "$0")/../../.."
home=$(sh tests/compat/environment.sh instrumentations "SDKs and instrumentations")
"$home/bin/python" -m pytest --confcutdir tests/compat/instrumentations tests/compat/instrumentations
