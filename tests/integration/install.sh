#!/bin/bash
# `noded-proxy install` and `uninstall` on a node whose systemctl and daemon-util are stand-ins that
# start the real guard and the real proxy, in namespaces of its own:
#   unshare --net --mount --pid --fork --kill-child --mount-proc install.sh PART PROGRAM REPO NODE
# NODE is a folder with Ganeti's files (ganeti/) and the proxy's configuration (config.toml); `daemon`
# stands for the proxy's user. Prints what each part found; the tests compare.
set -euo pipefail
part=$1 program=$2 repo=$3 node=$4
export STAND=$node/stand PROGRAM=$program NODE=$node REPO=$repo
export PATH=$STAND/bin:$PATH
defaults=$node/defaults
mkdir -p "$STAND/bin" "$STAND/enabled" "$STAND/pid" "$STAND/run"
chown daemon: "$node/state"; chown :daemon "$node"/ganeti/*.pem; chmod 440 "$node"/ganeti/*.pem
ip link set lo up
sed 's/noded-proxy }/daemon }/' "$repo/systemd/noded-proxy-guard.nft" > "$STAND/guard.nft"
printf '# Defaults\nRAPI_ARGS="-x"\nNODED_ARGS=\x27-d\x27   # loud\nexport X="\xff"' > "$defaults"
chmod 640 "$defaults"; chown daemon:daemon "$defaults"

# --- the stand-ins -----------------------------------------------------------

# Before or after it is done, the command in $STAND/fail fails, once; at that in $STAND/kill the program is killed.
cat > "$STAND/lib" <<'LIB'
told_to_fail() {   # told_to_fail WHEN COMMAND...
  [[ ! -e $STAND/kill || $(cat "$STAND/kill") != "$*" ]] || { rm "$STAND/kill"; kill -KILL "$PPID"; exit 1; }
  [[ -e $STAND/fail && $(cat "$STAND/fail") == "$*" ]] || return 0
  rm "$STAND/fail"; [[ ! -e $STAND/then ]] || mv "$STAND/then" "$STAND/fail"
  [[ ! -e $STAND/edit ]] || echo "# edited" >> "$NODE/defaults"
  echo "told to fail" >&2; exit 1
}
alive() { [[ -e $STAND/pid/$1 ]] && kill -0 "$(cat "$STAND/pid/$1")" 2>/dev/null; }
begin() { local name=$1; shift; setsid "$@" >>"$STAND/log" 2>&1 </dev/null & echo $! > "$STAND/pid/$name"; }
end() {
  ! alive "$1" || { kill "$(cat "$STAND/pid/$1")"; while alive "$1"; do sleep 0.02; done; }
  rm -f "$STAND/pid/$1"
}
await() { for _ in $(seq 1500); do "$@" && return; sleep 0.02; done; cat "$STAND/log" >&2; exit 1; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
LIB
cat > "$STAND/bin/systemctl" <<'SYSTEMCTL'
#!/bin/bash
. "$STAND/lib"
verb=$1; shift
show() {
  local unit=$1 active=inactive enabled=disabled command=
  case $unit in
    noded-proxy.service) command="${UNIT_PROGRAM:-$PROGRAM} run --config $NODE/config.toml"; echo User=daemon;;
    noded-proxy-guard.service) command="$PROGRAM guard --rules $STAND/guard.nft";;
    noded-proxy.socket) ;;
    ganeti-noded.service) [[ -e $STAND/plain ]] && command="/usr/sbin/ganeti-noded --no-ssl" || { echo LoadState=not-found; exit; };;
    *) echo LoadState=not-found; exit;;
  esac
  [[ ! -e $STAND/absent.$unit ]] || { echo LoadState=not-found; exit; }
  if [[ $unit == *.socket ]]; then [[ ! -e $STAND/pid/$unit ]] || active=active; elif alive "$unit"; then active=active; fi
  [[ ! -e $STAND/enabled/$unit ]] || enabled=enabled
  printf '%s\n' LoadState=loaded ActiveState=$active UnitFileState=$enabled "TimeoutStopUSec=1min 15s"
  [[ -z $command ]] || echo "ExecStart={ path=$PROGRAM ; argv[]=$command ; ignore_errors=no ; }"
}
also() {   # also UNIT: what is enabled and disabled with it
  echo "$STAND/enabled/$1"
  sed -n "s|^Also=|$STAND/enabled/|p" "$REPO/systemd/$1"
}
healthy() { curl -fsS -m 2 http://127.0.0.1:9811/healthz; }
start() {
  case $1 in
    noded-proxy-guard.service) alive "$1" || begin "$1" "$PROGRAM" guard --rules "$STAND/guard.nft" --state "$STAND/run/state"
      await test -e "$STAND/run/state";;
    noded-proxy.service) alive "$1" || begin "$1" setpriv --reuid daemon --regid daemon --clear-groups "$PROGRAM" run --config "$NODE/config.toml"
      await healthy >/dev/null 2>&1;;
    noded-proxy.socket) ! alive noded-proxy.service || { echo "already active, refusing" >&2; exit 1; }; touch "$STAND/pid/$1";;
  esac
}
case $verb in
  show) show "$@"; exit;;
  is-active) alive "${@: -1}"; exit;;
  is-enabled) [[ -e $STAND/enabled/${*: -1} ]]; exit;;
esac
echo "systemctl $verb $*" >> "$STAND/calls"
told_to_fail before systemctl "$verb" "$@"
for unit; do
  case $verb in
    enable) touch $(also "$unit");;
    disable) rm -f $(also "$unit");;
    start) start "$unit";;
    reload) "$PROGRAM" reload --config "$NODE/config.toml"
      ss -Hltnp 'sport = :1811' | sed 's/.*pid=\([0-9]*\).*/\1/' > "$STAND/pid/$unit";;
    stop) if [[ $unit == *.socket ]]; then rm -f "$STAND/pid/$unit"; else end "$unit"; fi;;
  esac
done
told_to_fail after systemctl "$verb" "$@"
SYSTEMCTL
cat > "$STAND/bin/daemon-util" <<'DAEMON'
#!/bin/bash
. "$STAND/lib"
NODED_ARGS=
. "$NODE/defaults"
told_to_fail before daemon-util "$1"
case $1 in
  stop) end ganeti-noded;;
  start)
    touch "$STAND/starting"
    while [[ -e $STAND/hold ]]; do sleep 0.02; done
    begin ganeti-noded "$STAND/ganeti-noded" $NODED_ARGS; await alive ganeti-noded;;
esac
told_to_fail after daemon-util "$1"
DAEMON
cat > "$STAND/ganeti-noded" <<'NODED'
#!/usr/bin/python3
"""A noded: a process for each connection. `slow` answers when it is let go."""
import argparse, http.server, os, socketserver, ssl, time
p = argparse.ArgumentParser()
p.add_argument("-b", default="0.0.0.0"); p.add_argument("-p", type=int, default=1811)
p.add_argument("--no-ssl", action="store_true"); p.add_argument("-d", action="store_true")
a = p.parse_args()
stand = os.environ["STAND"]
class Handler(http.server.BaseHTTPRequestHandler):
    server_version, sys_version, protocol_version = "Ganeti 3.0.2", "", "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        while self.path == "/slow" and not os.path.exists(stand + "/let-go"): time.sleep(0.02)
        body = b"nonsense" if os.path.exists(stand + "/nonsense") else b"[true, 3000000]\n"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body); self.close_connection = True
    def log_message(self, *x): pass
class Server(socketserver.ForkingMixIn, http.server.HTTPServer):
    allow_reuse_address = True
    def finish_request(self, request, address):   # in the new process
        self.socket.close()
        if not a.no_ssl:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain(os.environ["NODE"] + "/ganeti/server.pem")
            request = tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)
Server((a.b, a.p), Handler).serve_forever(0.1)
NODED
chmod 755 "$STAND/bin/"* "$STAND/ganeti-noded"
. "$STAND/lib"

# --- what the parts are made of ----------------------------------------------

holder() { ss -Hltnp "sport = :$1" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u; }
# state: all that must be as before when something was undone
state() {
  echo "file: $(sha1sum < "$defaults" | cut -c1-8) $(stat -c '%U:%G %a' "$defaults")"
  echo "enabled: $(cd "$STAND/enabled" && echo *)"
  echo "units: $(cd "$STAND/pid" && echo *)"
  local port
  for port in 1811 298; do echo "port $port: $(holder $port)"; done
  nft list table inet noded_proxy_guard > /dev/null 2>&1 && echo "guarded" || echo "not guarded"
  [[ -e $node/undo ]] && echo "kept: $(sha1sum < "$node/undo/before" | cut -c1-8)" || echo "nothing kept"
  [[ ! -e $node/hooks ]] || (cd "$node/hooks" && echo "hooks:" $(find . -name noded-proxy | sort))
}
cli() {   # cli install|uninstall OPTION...: its status, its output in $STAND/said
  local rc=0
  "$program" "$1" --noded-defaults "$defaults" --daemon-util "$STAND/bin/daemon-util" --undo-dir "$node/undo" \
    --hooks-dir "$node/hooks" --hooks-from "$repo/hooks" "${@:2}" > "$STAND/said" 2>&1 || rc=$?
  echo "$*: status $rc"
}
said() { sed "s|$node|NODE|g; s|$repo|REPO|g; s/pid [0-9]*/pid N/; s/[0-9]* checks/N checks/; s/at [0-9.]*:1811/at HERE/" "$STAND/said"; }
same() { [[ $1 == "$2" ]] && echo "as before" || { echo "NOT as before:"; diff <(echo "$1") <(echo "$2") || true; said; }; }

nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/298" 2>/dev/null && echo "nobody: let in" || echo "nobody: kept out"; }

daemon-util start; await listens 1811
before=$(state)

# --- the parts ---------------------------------------------------------------

part_whole() {   # shown, done, nothing to do, undone byte for byte
  cli install; said; same "$before" "$(state)"
  cli install --apply; said; state | grep -v '^file'; nobody
  cli install --apply; said
  cli uninstall; said
  cli uninstall --apply; said; same "$before" "$(state)"
  cli uninstall --apply; said
}

part_fails() {   # each command fails, before it has done anything and when it has
  local when what
  for when in before after; do
    for what in 'systemctl enable noded-proxy-guard.service' 'systemctl start noded-proxy-guard.service' \
        'daemon-util stop' 'daemon-util start' 'systemctl enable noded-proxy.service' 'systemctl start noded-proxy.service'; do
      echo "$when $what" > "$STAND/fail"
      cli install --apply; await listens 1811; echo "$when $what: $(same "$before" "$(state)")"
    done
  done
  said
}

part_unproven() {   # all is done, and then it does not work
  touch "$STAND/nonsense"
  cli install --apply; same "$before" "$(state)"; said | tail -3
}

part_uninstall_fails() {
  cli install --apply; local installed when what; installed=$(state)
  for when in before after; do
    for what in 'systemctl stop noded-proxy.service' 'systemctl disable noded-proxy.service' 'daemon-util stop' 'daemon-util start' \
        'systemctl stop noded-proxy-guard.service' 'systemctl disable noded-proxy-guard.service'; do
      echo "$when $what" > "$STAND/fail"
      cli uninstall --apply; echo "$when $what: $(same "$installed" "$(state)")"
    done
  done
  cli uninstall --apply; same "$before" "$(state)"
}

part_running() {   # an RPC runs
  curl -sSk -d '[]' https://127.0.0.1:1811/slow > "$STAND/slow" & local slow=$!
  await pgrep -P "$(cat "$STAND/pid/ganeti-noded")" > /dev/null
  cli install; said | tail -2
  cli install --apply; said; same "$before" "$(state)"
  # Who reads it goes: what waits must not begin later, where nobody looks.
  mkfifo "$STAND/reader"; head -n 1 < "$STAND/reader" > /dev/null & local reader=$! rc=0
  "$program" install --apply --wait --noded-defaults "$defaults" --daemon-util "$STAND/bin/daemon-util" --undo-dir "$node/undo" > "$STAND/reader" 2> "$STAND/said" || rc=$?
  wait "$reader"; echo "unread: status $rc"; said; same "$before" "$(state)"
  { cli install --apply --wait > "$STAND/status"; } & local install=$!
  await grep -q '^wait' "$STAND/said"
  same "$before" "$(state)"
  touch "$STAND/let-go"; wait "$slow"; cat "$STAND/slow"
  wait "$install"; cat "$STAND/status"; said | head -1
  cli uninstall --apply --now; same "$before" "$(state)"
}

part_interrupted() {   # a signal in the middle
  touch "$STAND/hold"
  "$program" install --apply --noded-defaults "$defaults" --daemon-util "$STAND/bin/daemon-util" --undo-dir "$node/undo" > "$STAND/said" 2>&1 & local install=$! rc=0
  rm -f "$STAND/starting"; await test -e "$STAND/starting"
  kill "$install"; rm "$STAND/hold"
  wait "$install" || rc=$?
  echo "status $rc"; said | grep -E '^(FAIL|noded-proxy)'; same "$before" "$(state)"
}

part_edited() {   # somebody has edited the file since, or the installation was by hand
  cli install --apply; echo $'\n# mine' >> "$defaults"
  cli uninstall --apply; said | grep note; tail -n 3 "$defaults" | cat -v; grep NODED "$defaults"
  cli install --apply; rm -r "$node/undo"
  cli uninstall --apply; said | grep note; grep NODED "$defaults"
  cli install --apply; : > "$node/other"; defaults=$node/other cli uninstall --apply; said
  cli uninstall --apply; grep NODED "$defaults"
}

part_drop-in() {   # somebody's drop-in has systemd start noded without TLS; none runs so
  cli install --apply; local held; held=$(state)
  touch "$STAND/plain"
  cli uninstall --apply; said | tail -n 1; same "$held" "$(state)"
  rm "$STAND/plain"
  cli uninstall --apply; same "$before" "$(state)"
}

part_silent() {   # systemd does not answer, which is not to know no unit
  local systemctl; systemctl=$(cat "$STAND/bin/systemctl")
  printf '#!/bin/sh\nsleep 900\n' > "$STAND/bin/systemctl"
  cli install --apply; said
  printf '%s\n' "$systemctl" > "$STAND/bin/systemctl"; same "$before" "$(state)"
  cp "$defaults" "$node/kept"; printf '\nsleep 900\n' >> "$defaults"   # nor does the shell that reads this
  cli install --apply; said | grep -o '`bash.*'
  cat "$node/kept" > "$defaults"; same "$before" "$(state)"
}

part_no-cluster() {   # noded runs, so there is a server.pem: not where the configuration has it
  mv "$node/ganeti/server.pem" "$node/server.pem"
  cli install; said; cli install --apply; said; same "$before" "$(state)"
  "$STAND/bin/daemon-util" stop ganeti-noded; cli install; said | grep note   # not yet in a cluster
  mv "$node/server.pem" "$node/ganeti/server.pem"; "$STAND/bin/daemon-util" start ganeti-noded; await listens 1811; same "$before" "$(state)"
}

part_socket() {   # the socket unit, from the beginning and later
  cli install --apply --socket; state | grep units
  cli uninstall --apply; same "$before" "$(state)"
  cli install --apply; cli install --apply --socket; state | grep units
  cli install --apply; said
  cli uninstall --apply; same "$before" "$(state)"
}

part_hooks() {   # later and from the beginning; they go with the rest; what is not ours is left alone
  cli install --apply --hooks; said | grep link; state | grep hooks
  test -x "$node/hooks/cluster-verify-post.d/noded-proxy"   # as Ganeti asks
  cli install --apply --hooks; said
  echo 'after systemctl start noded-proxy.service' > "$STAND/fail"
  cli uninstall --apply; said | grep removed; same "$before" "$(state)"
  cli install --apply --hooks; same "$before" "$(state)"
  mkdir -p "$node/hooks/cluster-verify-post.d"; touch "$node/hooks/cluster-verify-post.d/noded-proxy"
  local held; held=$(state)
  cli install --apply --hooks; said; same "$held" "$(state)"
}

mode() { curl -fsS -m 5 http://127.0.0.1:9811/metrics | grep '^noded_proxy_mode.* 1$'; }
part_settings() {   # keys of the proxy's own configuration, in a file of their own that goes with it
  local held named; named=$(cat "$node/config.toml")
  cli install --apply --mode audit --candidate-certs "$node/candidates" > /dev/null; said | head -4 | cut -c1-80; mode
  cli install --apply --mode audit --candidate-certs "$node/others" > /dev/null; said; [[ ! -e $node/others ]]
  held=$(state; cat "$node/config.d/install.toml")
  for when in before after; do
    echo "$when systemctl reload noded-proxy.service" > "$STAND/fail"
    cli install --apply --mode enforce; same "$held" "$(state; cat "$node/config.d/install.toml")"
  done
  said | grep ^back; mode
  cli install --apply --mode enforce; said | head -2; mode; same "$named" "$(cat "$node/config.toml")"
  "$program" check --config "$node/config.toml" --offline | grep ' configuration:' | sed "s|$node|NODE|g"
  cli uninstall --apply; said | grep config; same "$before" "$(state)"; same "$named" "$(cat "$node/config.toml")"; [[ ! -e $node/config.d ]]
  # As a former installation has left it.
  printf '[admission]\nmode = "audit"\n' >> "$node/config.toml"
  cli install --apply --mode enforce; said | head -1; mode; [[ ! -e $node/config.d ]]
  cli uninstall --apply; same "$before" "$(state)"; tail -n 2 "$node/config.toml"
}

part_refused() {   # what is missing is named, and nothing is done
  touch "$STAND/absent.noded-proxy.service" "$STAND/absent.noded-proxy.socket"
  cli install --apply --socket; said
  rm "$STAND/absent."*; mv "$STAND/guard.nft" "$STAND/away.nft"
  cli install; said; sed 's/= 298/= 299/' "$STAND/away.nft" > "$STAND/guard.nft"
  cli install; said; cp "$STAND/away.nft" "$STAND/guard.nft"
  echo 'NODED_ARGS="$X"' > "$defaults"; cli install; said
  echo 'false && NODED_ARGS=""' > "$defaults"; cli install; said
  echo 'max = 1' >> "$node/config.toml"; cli install
}

# shellcheck source=install/left.sh
. "$repo/tests/integration/install/left.sh"
# shellcheck source=install/moves.sh
. "$repo/tests/integration/install/moves.sh"
"part_$part"
