#!/usr/bin/env bash
# A cluster of two nodes on this machine, with a token of its own, to try what needs more than one.
#   two-nodes.sh COMMAND…      runs COMMAND with RAY_ADDRESS set, then stops both nodes
# CPUS (2) and MEMORY_GB (1, object store) are of each node.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }

CPUS=${CPUS:-2}
OBJECT_STORE=$((${MEMORY_GB:-1} << 30))
FOLDER=$(mktemp --directory /tmp/noise2map.XXXX)  # short: Ray puts sockets there
RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(head --bytes 16 /dev/urandom | od -An -tx1 | tr -d ' \n')}
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_worker_niceness=0 RAY_idle_worker_killing_time_threshold_ms=60000

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
PORT=$(free_port)
NODES=()
stop() {
  for node in "${NODES[@]}"; do kill -TERM "$node" 2>/dev/null || true; done
  wait || true
  rm -rf "$FOLDER"
}
trap stop EXIT

start() {
  ray start --block --disable-usage-stats --node-ip-address 127.0.0.1 --num-cpus "$CPUS" \
    --object-store-memory "$OBJECT_STORE" "$@" >>"$FOLDER/log" 2>&1 &
  NODES+=($!)
}
count() { python3 - <<'END' 2>/dev/null || echo 0
import logging, ray
ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
END
}
wait_for() {
  for _ in $(seq 60); do [ "$(count)" -ge "$1" ] && return; sleep 1; done
  echo "two-nodes.sh: node $1 has not started within its time:" >&2
  tail -20 "$FOLDER/log" >&2
  exit 1
}

export RAY_ADDRESS=127.0.0.1:$PORT
start --head --port "$PORT" --include-dashboard false --temp-dir "$FOLDER"
wait_for 1
start --address "$RAY_ADDRESS"
wait_for 2
"$@"
