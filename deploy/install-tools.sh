#!/bin/sh
# Brings Debian's promtool, amtool and alertmanager, by which tests check our configuration and page a real Alertmanager.
# Where that is not possible (no apt, not root, no network) it says so and succeeds: those tests then skip, with a reason.
set -u

missing=
for tool in promtool amtool prometheus-alertmanager; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0

skip() { printf 'spanloom: no%s here (%s); the tests that need them will skip\n' "$missing" "$1" >&2; exit 0; }

command -v apt-get >/dev/null 2>&1 || skip "not a Debian system"
[ "$(id -u)" = 0 ] || skip "apt-get needs root"

# A package that starts its service on installation would listen on this machine: let none.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager; } >"$log" 2>&1; then
    reason=$(tail -n 1 "$log")
    rm -f "$log"
    skip "apt-get failed: $reason"
fi
rm -f "$log"
