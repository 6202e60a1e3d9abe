#!/bin/bash
# The firewall rule of noded's loopback port, in a network namespace of its own:
#   unshare --net tests/integration/guard.sh noded-proxy-guard.service noded-proxy-guard.nft
# `daemon` stands for the proxy's user. Prints one line for each attempt.
set -euo pipefail
unit=$1 rules=$2
work=$(mktemp -d)
pids=() guard=
trap 'kill -- "${pids[@]}" ${guard:+"-$guard"} 2>/dev/null || true; rm -rf "$work"' EXIT

ip link set lo up
# A neighbour on another network, to come in by another interface than lo.
unshare --net sleep 120 & neighbour=$!; pids+=($!)
until [[ $(readlink "/proc/$neighbour/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
ip link add guard0 type veth peer name guard1 netns "$neighbour"
ip addr add 192.0.2.1/24 dev guard0; ip link set guard0 up
nsenter -t "$neighbour" -n ip addr add 192.0.2.2/24 dev guard1
nsenter -t "$neighbour" -n ip link set guard1 up

# noded, on all addresses by mistake.
python3 -c '
import socket
s = socket.create_server(("::", 11811), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
while True: s.accept()[0].close()
' & pids+=($!)

try() {   # try WHO ADDRESS COMMAND...
  local who=$1 address=$2; shift 2
  if "$@" timeout 5 bash -c "exec 3<>/dev/tcp/$address/11811" 2>/dev/null; then
    echo "$who $address: open"
  else
    echo "$who $address: closed"
  fi
}

as() { setpriv --reuid="$1" --regid=65534 --clear-groups "${@:2}"; }

all() {
  local address
  for address in 127.0.0.1 ::1; do
    try root $address
    try proxy $address as daemon
    try nobody $address as nobody
    try 12345 $address as 12345
  done
  try neighbour 192.0.2.1 nsenter -t "$neighbour" -n
}

until try root 127.0.0.1 | grep -q open; do sleep 0.02; done

echo "without:"
all

# As the unit loads it: what systemd makes of the line in its own quoting.
sed 's/noded-proxy }/daemon }/' "$rules" > "$work/guard.nft"
grep -q 'daemon }' "$work/guard.nft"
nft --check -f "$work/guard.nft"
line=$(sed -n 's/^ExecStart=//p' "$unit" | sed 's/\\\\/\\/g')
line=${line//\/etc\/noded-proxy\/noded-proxy-guard.nft/$work/guard.nft}
# Its process group is what the service's control group is there: nft is not alone in it.
setsid bash -c "exec $line" > /dev/null & guard=$!
until nft list table inet noded_proxy_guard > /dev/null 2>&1; do sleep 0.02; done
echo "guarded:"
all

# Somebody reloads his own firewall.
nft flush ruleset
echo "after a flush:"
all

kill -- "-$guard"; wait "$guard" 2>/dev/null || true; guard=
while nft list table inet noded_proxy_guard > /dev/null 2>&1; do sleep 0.02; done
echo "stopped:"
all
