#!/bin/bash
# The guard of noded's port, in a network namespace of its own:
#   unshare --net tests/integration/guard.sh PART noded-proxy noded-proxy-guard.nft
# `daemon` stands for the proxy's user. Prints what each part found; the tests compare.
set -euo pipefail
part=$1 program=$2 rules=$3
work=$(mktemp -d)
mkdir "$work/run"
state=$work/run/state
pids=() guard=
trap 'kill -9 "${pids[@]}" $guard 2>/dev/null || true; rm -rf "$work"' EXIT
PYTHON=/usr/bin/python3
ip link set lo up
sed 's/noded-proxy }/daemon }/' "$rules" > "$work/guard.nft"
grep -q 'daemon }' "$work/guard.nft"
port=$(sed -n 's/^define noded_port = //p' "$rules")

# --- what the parts are made of ----------------------------------------------

start_guard() { "$program" guard --rules "$work/guard.nft" --state "$state" 2>> "$work/said" & guard=$!; }
# said WORDS: whether the guard has said so
said() { grep -q "$@" "$work/said" || { cat "$work/said" >&2; return 1; }; }
wait_guard() {
  for _ in $(seq 400); do [[ ! -e $state ]] || return 0; sleep 0.05; done
  cat "$work/said" >&2; return 1
}
end_guard() { local rc=0; wait "$guard" || rc=$?; guard=; echo "guard ended: $rc"; }
state_file() { [[ -e $state ]] && echo "state: there" || echo "state: absent"; }
table() { nft list table inet noded_proxy_guard > /dev/null 2>&1 && echo "table: there" || echo "table: absent"; }

as() { setpriv --reuid="$1" --regid=65534 --clear-groups "${@:2}"; }

try() {   # try WHO ADDRESS COMMAND...
  local who=$1 address=$2; shift 2
  if "$@" timeout 5 bash -c "exec 3<>/dev/tcp/$address/$port" 2>/dev/null; then
    echo "$who $address: open"
  else
    echo "$who $address: closed"
  fi
}

# listens USER: on all addresses, answers with 3 MB behind what the buffers hold, and leaves the
# rest of it to the kernel, as noded's children do
listens() {
  setpriv --reuid="$1" --clear-groups "$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
s.bind(("::", int(sys.argv[1]))); s.listen(64)
while True:
    c = s.accept()[0]
    c.setblocking(False)
    try: c.send(b"x" * (3 << 20))
    except OSError: pass
    c.close()
' "$port" & listener=$!; pids+=($!)
  until ss -Hltn "sport = :$port" | grep -q .; do kill -0 "$listener"; sleep 0.02; done
}
stop_listening() { kill "$listener"; wait "$listener" 2>/dev/null || true; }

# --- the parts ---------------------------------------------------------------

who_reaches() {
  local address
  for address in 127.0.0.1 ::1; do
    try root $address
    try proxy $address as daemon
    try nobody $address as nobody
    try 12345 $address as 12345
  done
  try neighbour 192.0.2.1 nsenter -t "$neighbour" -n
}

part_reach() {   # who reaches noded
  # A neighbour on another network, to come in by another interface than lo.
  unshare --net sleep 120 & neighbour=$!; pids+=($!)
  until [[ $(readlink "/proc/$neighbour/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
  ip link add guard0 type veth peer name guard1 netns "$neighbour"
  ip addr add 192.0.2.1/24 dev guard0; ip link set guard0 up
  nsenter -t "$neighbour" -n ip addr add 192.0.2.2/24 dev guard1
  nsenter -t "$neighbour" -n ip link set guard1 up
  listens root
  echo "without:"; who_reaches
  start_guard; wait_guard
  echo "guarded:"; who_reaches
  # Somebody reloads his own firewall.
  nft flush ruleset
  echo "after a flush:"; who_reaches
  kill "$guard"; end_guard; state_file
  echo "stopped:"; who_reaches
}

part_impostor() {   # who listens in noded's place is answered by nobody
  echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start   # of this namespace alone
  listens nobody
  try root 127.0.0.1
  start_guard; wait_guard
  try root 127.0.0.1
  try root ::1
  stop_listening; listens root
  try root 127.0.0.1
}

part_answer() {   # a long answer comes whole, and no end of a connection is refused
  listens root; start_guard; wait_guard
  as daemon "$PYTHON" -c '
import socket, sys, time
address = ("127.0.0.1", int(sys.argv[1]))
c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); c.connect(address)
time.sleep(0.5)   # noded has closed long before all is there
n = 0
while True:
    piece = c.recv(1 << 16)
    if not piece: break
    n += len(piece)
print("answer is longer than a window:", n > 100000)
for _ in range(20):   # who closes first
    c = socket.create_connection(address); c.close()
' "$port"
  sleep 0.5
  nft list chain inet noded_proxy_guard to_noded | sed -n 's|.*counter packets \([0-9]*\).*|refused: \1|p'
}

part_loss() {   # kill -9 of nft
  start_guard; wait_guard; table
  kill -9 "$(pgrep -P "$guard" -x nft)"
  end_guard; state_file; table
  said 'NOT closed'
}

part_plain() {   # an nft that does not know `flags owner`
  mkdir "$work/bin"
  # shellcheck disable=SC2016
  printf '#!/bin/bash\nfor f; do [[ ! -f $f ]] || ! grep -Eq "^\\s*flags owner" "$f" || { echo "syntax error, unexpected string" >&2; exit 1; }; done\nexec %s "$@"\n' \
    "$(command -v nft)" > "$work/bin/nft"
  chmod 755 "$work/bin/nft"
  local PATH=$work/bin:$PATH
  export PATH
  listens root
  start_guard; wait_guard; table
  said 'does not know `flags owner`'
  grep owned "$state"
  try root 127.0.0.1; try nobody 127.0.0.1 as nobody
  kill -9 "$guard"; end_guard; table      # what nobody owns stays
  rm "$state"; start_guard; wait_guard; table
  nft flush ruleset
  end_guard; state_file
  start_guard; wait_guard; table
  kill "$guard"; end_guard; state_file; table
}

part_faulty() {   # rules that do not load, and rules that do not help
  local what
  for what in 's/jump to_noded/jump to_nowhere/' '/jump to_noded/d' 's/daemon }/daemon, nobody }/' '/^define/d'; do
    sed "$what" "$work/guard.nft" > "$work/faulty.nft"
    "$program" guard --rules "$work/faulty.nft" --state "$state" 2> "$work/said" & guard=$!
    end_guard; state_file; table
    said 'NOT closed'
  done
  said 'define noded_port'
}

part_why() {   # a guard that fails leaves the reason, until one holds
  sed '/^define/d' "$work/guard.nft" > "$work/faulty.nft"
  "$program" guard --rules "$work/faulty.nft" --state "$state" 2> /dev/null & guard=$!
  end_guard; state_file
  sed "s|$work|.|" "$state.why"; echo
  start_guard; wait_guard
  until [[ ! -e $state.why ]]; do sleep 0.02; done
  kill "$guard"; end_guard
  [[ -e $state.why ]] || echo "the reason is gone"
}

part_crash() {   # kill -9 again and again: no more than one start a second
  local last next
  start_guard; wait_guard
  for _ in 1 2; do
    last=$(cat "$state.begun"); kill -9 "$guard"; end_guard; rm -f "$state"
    start_guard; wait_guard; next=$(cat "$state.begun")
    echo "a second between: $((next - last >= 1000))"
  done
}

part_hole() {   # rules that let everybody through where noded listens, and nowhere else
  local hole
  ip link add guard0 type veth peer name guard1
  ip addr add 192.0.2.1/24 dev guard0
  ip addr add 2001:db8::1/64 dev guard0 nodad
  ip link set guard0 up; ip link set guard1 up
  for hole in 'ip daddr 127.0.0.1' 'ip6 daddr ::1' 'ip daddr 192.0.2.1' 'ip6 daddr 2001:db8::1'; do
    sed "s/\(oifname \"lo\" tcp dport .noded_port\) jump/$hole accept\n\t\t\1 jump/" "$work/guard.nft" > "$work/hole.nft"
    "$program" guard --rules "$work/hole.nft" --state "$state" 2> "$work/said" & guard=$!
    wait_guard; state_file         # nobody listens yet
    listens root
    end_guard; state_file; table
    said 'let the user nobody connect'
    "$program" guard --rules "$work/hole.nft" --state "$state" 2> "$work/said" & guard=$!
    end_guard; state_file; table   # it listens already
    stop_listening
  done
}

"part_$part"
