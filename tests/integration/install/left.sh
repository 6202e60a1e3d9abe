# shellcheck shell=bash disable=SC2154
# Parts of install.sh: no noded that obeys whoever connects is left without its guard, and none that ran is
# left down, whatever the configuration says by then, and wherever the program was killed.

told() { grep -E "$1" "$STAND/said" | sed "s|$node|NODE|g; s/pid [0-9]*/pid N/" || true; }
# nobody_at PORT: what a local user gets there
nobody_at() {
  setpriv --reuid=nobody --regid=nogroup --clear-groups curl -sS -m 5 -o /dev/null -d '[]' "http://127.0.0.1:$1/version" \
    2>/dev/null && echo "nobody commands noded" || echo "nobody is kept out"
}
# noded_port PORT: configuration and guard say that noded is there
noded_port() {
  sed -i '/^address = /d' "$node/config.toml"
  [[ $1 == 298 ]] || sed -i "s/^\[upstream\]/&\naddress = \"127.0.0.1:$1\"/" "$node/config.toml"
  sed -i "s/^define noded_port = .*/define noded_port = $1/" "$STAND/guard.nft"
}
settled() { ! alive ganeti-noded || ss -Hltnp | grep -q '"ganeti-noded"'; }
# reboot: what is enabled comes back, and noded with it
reboot() {
  local unit
  for unit in ganeti-noded noded-proxy.service noded-proxy-guard.service; do end $unit; done
  nft flush ruleset
  [[ ! -e $STAND/enabled/noded-proxy-guard.service ]] || systemctl start noded-proxy-guard.service
  # Wants= has the guard started, too
  [[ ! -e $STAND/enabled/noded-proxy.service ]] || systemctl start noded-proxy-guard.service noded-proxy.service
  daemon-util start; await settled
}
# by_hand PORT LINE: noded is there with these arguments, guard and proxy before it
by_hand() {
  noded_port "$1"
  printf '%s\n' "$2" > "$defaults"
  daemon-util stop; daemon-util start; await listens "$1"
  systemctl enable noded-proxy-guard.service noded-proxy.service
  systemctl start noded-proxy-guard.service noded-proxy.service
}

part_elsewhere() {   # noded is not where the configuration says
  noded_port 11811; cli install --apply --now; noded_port 298
  cli uninstall --apply --now; nobody_at 11811; same "$before" "$(state)"

  by_hand 11811 'NODED_ARGS="-b 127.0.0.1 -p 11811 --no-ssl"'; noded_port 298
  local held; held=$(state)
  cli uninstall --apply --now; told ^noded-proxy; nobody_at 11811; same "$held" "$(state)"
  # What it asks for.
  noded_port 11811
  cli uninstall --apply --now; nobody_at 11811; holder 1811
}

part_stray() {   # a second noded that no restart reaches
  cli install --apply --now
  begin stray "$STAND/ganeti-noded" -b 127.0.0.1 -p 11811 --no-ssl; await listens 11811
  local held; held=$(state)
  cli uninstall --apply --now; told '^(FAIL|noded-proxy)'; same "$held" "$(state)"; nobody_at 298
  end stray
  # What an ordinary user calls so is no noded.
  begin stray setpriv --reuid=nobody --regid=nogroup --clear-groups "$STAND/ganeti-noded" -b 127.0.0.1 -p 11812 --no-ssl
  await listens 11812
  cli uninstall --apply --now; end stray; rm -f "$STAND/pid/stray"; same "$before" "$(state)"
}

part_way_back() {   # what cannot be taken back keeps the guard
  echo 'after systemctl start noded-proxy.service' > "$STAND/fail"
  touch "$STAND/edit"
  cli install --apply --now; told '^LEFT'; nobody_at 298; systemctl is-enabled noded-proxy-guard.service && echo "enabled"
  rm "$STAND/edit"; cli install --apply --now
  # A guard that does not come back: noded stays as it is.
  echo 'after systemctl disable noded-proxy-guard.service' > "$STAND/fail"
  echo 'before systemctl start noded-proxy-guard.service' > "$STAND/then"
  cli uninstall --apply --now; told '^LEFT'; nobody_at 298; holder 1811
}

part_second() {   # a second installation: the first one's text is what comes back
  local held when
  cli install --apply; systemctl stop noded-proxy.service noded-proxy-guard.service
  noded_port 11811; systemctl start noded-proxy-guard.service; held=$(state)
  for when in before after; do
    echo "$when systemctl start noded-proxy.service" > "$STAND/fail"
    cli install --apply --now; same "$held" "$(state)"
  done
  cli install --apply --now; nobody_at 11811; [[ $(state | grep kept) == "$(grep kept <<<"$held")" ]] && echo "the first text is kept"
  cli uninstall --apply --now; same "$before" "$(state)"
}

part_killed() {   # at any moment of the way out, and then the node is booted: nobody commands noded
  local when what
  for when in before after; do
    for what in 'systemctl stop noded-proxy.service' 'daemon-util stop' 'daemon-util start' 'systemctl disable noded-proxy.service' \
        'systemctl stop noded-proxy-guard.service' 'systemctl disable noded-proxy-guard.service'; do
      cli install --apply --now > /dev/null; echo "$when $what" > "$STAND/kill"
      cli uninstall --apply --now; reboot; echo "$when $what: $(nobody_at 298), $(holder 1811)>$(holder 298)"
      cli uninstall --apply --now; same "$before" "$(state)"
    done
  done
}

part_down() {   # killed while noded was down: the next run has it run again
  local held
  echo 'after daemon-util stop' > "$STAND/kill"
  cli install --apply; echo "noded: $(holder 1811)$(holder 298)"
  cli install --apply; echo "noded: $(holder 298)"; held=$(state)
  for what in 'after daemon-util stop' 'before daemon-util start'; do
    echo "$what" > "$STAND/kill"
    cli uninstall --apply --now; echo "noded: $(holder 1811)$(holder 298)"
    cli uninstall --apply --now; same "$before" "$(state)"
    cli install --apply --now > /dev/null; same "$held" "$(state)"
  done
  # It is no fault that a noded which somebody has stopped does not run.
  daemon-util stop; cli install --apply; told '^(note|ok)'; echo "noded: $(holder 298)"
}

# prerm: the package's script, with the paths of this node
prerm() {
  local rc=0
  sed "s|^DEFAULTS=.*|DEFAULTS=$defaults|; s|^DAEMON_UTIL=.*|DAEMON_UTIL=$STAND/bin/daemon-util|; s|^KEPT=.*|KEPT=$node/undo|" \
    "$repo/package/debian/prerm" > "$STAND/prerm"
  sh "$STAND/prerm" "${@:-remove}" > "$STAND/said" 2>&1 || rc=$?
  echo "prerm: status $rc"
}

# with_package: what prerm calls
with_package() {
  mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system
  printf '#!/bin/sh\nexec systemctl "$@"\n' | tee "$STAND/bin/deb-systemd-invoke" > "$STAND/bin/deb-systemd-helper"
  cat > "$STAND/bin/noded-proxy" <<CLI
#!/bin/sh
exec "$program" "\$@" --noded-defaults "$defaults" --daemon-util "$STAND/bin/daemon-util" --undo-dir "$node/undo"
CLI
  chmod 755 "$STAND/bin/"*
}

part_removal() {   # the package goes
  with_package
  noded_port 11811; cli install --apply --now; noded_port 298
  prerm; nobody_at 11811; same "$before" "$(state)"

  # By hand, and the configuration does not say where: as of 0.1.0.
  by_hand 11811 'NODED_ARGS="-b 127.0.0.1 -p 11811 --no-ssl"'; noded_port 298
  prerm; told "'uninstall' failed"; nobody_at 11811; holder 1811; cat "$defaults"; state | grep -E '^(enabled|not guarded)'

  # Nothing can be put back: the guard goes on, and so does the proxy.
  by_hand 11811 'export NODED_ARGS="-b 127.0.0.1 -p 11811 --no-ssl"'; noded_port 298
  prerm; told 'ERROR'; nobody_at 11811; holder 1811; state | grep '^enabled'

  # None runs, and systemd would start one.
  printf 'NODED_ARGS=""\n' > "$defaults"; daemon-util stop; touch "$STAND/plain"
  prerm; told 'ERROR'; state | grep '^enabled'
  rm "$STAND/plain"

  # Half of the arguments would have noded obey the whole network.
  local more
  for more in 'MORE=--no-ssl\nNODED_ARGS="-b 127.0.0.1 -p 11811 $MORE"' 'NODED_ARGS="-b 127.0.0.1 \\\n -p 11811 --no-ssl"'; do
    by_hand 11811 "$(printf "$more")"; noded_port 298; local held; held=$(state)
    prerm; same "$held" "$(state)"
  done

  # In a chroot no unit can be stopped, and noded starts at the next boot.
  by_hand 11811 'NODED_ARGS="-b 127.0.0.1 -p 11811 --no-ssl"'
  systemctl stop noded-proxy.service; daemon-util stop; rmdir /run/systemd/system
  prerm; told 'ERROR'; state | grep '^enabled'; mkdir /run/systemd/system

  # Killed in the middle: what ran is started by the next `dpkg --configure`, if it is still enabled.
  by_hand 11811 'NODED_ARGS="-b 127.0.0.1 -p 11811 --no-ssl"'
  echo 'after systemctl stop noded-proxy.socket noded-proxy.service' > "$STAND/kill"
  prerm; holder 1811; echo "told: $(cat /run/noded-proxy-stopped)"
}

part_another_port() {   # noded's port is changed after an installation
  cli install --apply --now; noded_port 11811
  local held; held=$(state)
  cli install --apply --now; told '^noded-proxy'; nobody_at 298; nobody_at 11811; same "$held" "$(state)"
  # What it asks for.
  cli uninstall --apply --now; nobody_at 298
  cli install --apply --now; nobody_at 11811; holder 11811
}
