#!/bin/sh
# Runs the examples of web frameworks, which the product itself never needs, by their real servers: an environment of their own.
set -eu
cd "$(dirname "$0")/../../.."
folder=tests/compat/frameworks
home=.venv-compat/frameworks
if [ ! $home/.ready -nt $folder/requirements.lock ] || [ ! $home/.ready -nt producers/pyproject.toml ]; then
    printf 'spanloom: installing web frameworks to test with into %s ...\n' "$home"
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python $home
    VIRTUAL_ENV=$PWD/$home .venv/bin/uv pip install --quiet --require-hashes --requirement $folder/requirements.lock
    VIRTUAL_ENV=$PWD/$home .venv/bin/uv pip install --quiet --no-build-isolation --no-deps --editable schemas --editable producers
    touch $home/.ready
fi
$home/bin/python -m pytest --confcutdir $folder $folder
