#!/bin/sh
# Fails when a lock holds an address, or a package without a hash: installs go through the user's own index, and only what was locked.
set -eu
cd "$(dirname "$0")/.."
status=0
for lock in $(git ls-files '*.lock' 2>/dev/null || ls ./*.lock); do
    if grep -nE '(https?|file|git\+ssh|git)[:@]' "$lock"; then
        echo "spanloom: $lock holds an address (above): lock again with 'make lock'" >&2
        status=1
    fi
done
for lock in requirements.lock uv.requirements.lock benchmarks/*.lock tests/compat/*/*.lock examples/*/*.lock; do
    if ! awk '/^[a-zA-Z0-9]/ { if (name && !hashed) { print name; bad = 1 } name = $1; hashed = 0 } /--hash=sha256:/ { hashed = 1 } END { if (name && !hashed) { print name; bad = 1 } exit bad }' "$lock"; then
        echo "spanloom: $lock has packages without a hash (above): lock again with 'make lock'" >&2
        status=1
    fi
done
exit $status
