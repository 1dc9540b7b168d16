#!/bin/bash
# What a machine without systemd has for systemctl: it knows the kubelet and the join's unit.
set -u
m=$(dirname "$(dirname "$(readlink -f "$0")")")
echo "$*" >>"$m/systemctl.log"
verb=${1:-}
unit=${2:-}
unit=${unit%.service}

# One that has ended and that the first process of the machine has not waited for is not alive.
alive() {
  [ -s "$m/kubelet.pid" ] &&
    grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$(cat "$m/kubelet.pid")/status" 2>/dev/null
}
stop() {
  alive || return 0
  kill -TERM -- "-$(cat "$m/kubelet.pid")" 2>/dev/null
  for _ in $(seq 100); do alive || break; sleep 0.1; done
  kill -KILL -- "-$(cat "$m/kubelet.pid")" 2>/dev/null
  rm -f "$m/kubelet.pid"
}
start() {
  alive && return 0
  setsid "$m/bin/kubelet-service" "$m" >>"$m/kubelet.log" 2>&1 </dev/null &
  echo $! >"$m/kubelet.pid"
}

case "$verb $unit" in
  'start kubelet') start ;;
  'restart kubelet') stop; start ;;
  'stop kubelet') stop ;;
  'is-active kubelet' | 'is-active --quiet') alive ;;
  'is-active '*) exit 3 ;;
  'list-units --all') echo "  ${3:-} loaded inactive dead" ;;
  'start windlass-join') exec windlass join ;;
  *) exit 0 ;;
esac
