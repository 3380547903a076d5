#!/bin/bash
# Runs a server for a test: `run.sh SECONDS COMMAND…`. It ends when standard input ends (so with the test, however that
# ends), when the time is up, or by itself.
set -u
limit=$1
shift
exec 3<&0
timeout -k 5 "$limit" "$@" </dev/null 3<&- &
server=$!
cat <&3 >/dev/null &
watcher=$!
trap 'kill "$server" "$watcher" 2>/dev/null; wait "$server"' EXIT
trap 'exit 1' TERM INT
wait -n
