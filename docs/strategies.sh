#!/bin/sh
# Measures what docs/strategies.md shows, and puts it there. Options are those of `weir compare`.
# Best on a machine that does nothing else. CARGO_PROFILE=simulation builds faster.
set -eu
cd "$(dirname "$0")/.."
profile=${CARGO_PROFILE:-release}
[ $# -gt 0 ] || set -- --seconds 20
table=$(mktemp)
trap 'rm -f "$table"' EXIT
{
    printf '`weir compare %s`, %s at commit %s; ' "$*" "$(date -u '+%F %H:%M UTC')" "$(git rev-parse --short HEAD)"
    printf '%s, Linux %s.\n\n```text\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(uname -r)"
    cargo run --quiet --profile "$profile" -- compare --svg docs/strategies.svg "$@"
    printf '```\n'
} > "$table"
sed -i -e '/^<!-- begin compare -->$/,/^<!-- end compare -->$/{//!d}' \
    -e "/^<!-- begin compare -->\$/r $table" docs/strategies.md
