# shellcheck shell=bash
# Shared by the scripts of this folder. Sourced, not run.
#
# make_node_root and mount_node_root give one real noded private copies of the paths
# that are compiled into it. They live in one folder, the "node root":
#   etc/            full copy of /etc (own hosts, hostname, ganeti, default)
#   run/            becomes /run (no systemd is seen inside, and /run/ganeti is private)
#   var/lib/ganeti  var/log/ganeti  srv/ganeti  root/.ssh
# They are bind-mounted over the real paths inside a private mount namespace;
# nothing outside of the node root is written.

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

need_root() { [[ $(id -u) -eq 0 ]] || die "must be run as root"; }

# The comment block at the head of a script is its help text.
usage() { sed -n '2,/^set -/p' "$0" | sed '/^set -/d; s/^# \{0,1\}//'; exit "${1:-0}"; }

# wait_until SECONDS COMMAND... : runs COMMAND until it succeeds, at most SECONDS long
wait_until() {
  local end=$(($(date +%s) + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [[ $(date +%s) -lt $end ]] || return 1
    sleep 0.1
  done
}

# node_address nK: its address in the lab; LAB_FAMILY=6 is a lab whose nodes call each other by IPv6
node_address() { lab_address $((10 + ${1#n})); }
lab_address() { if [[ ${LAB_FAMILY:-4} == 6 ]]; then echo "2001:db8::$1"; else echo "192.0.2.$1"; fi; }

# Start time of a process, to tell it from a later one with the same number
# (nothing for a process that has ended and only waits to be collected).
proc_start() {
  awk '{sub(/^.*\) /,""); if ($1 != "Z" && $1 != "X") print $20}' "/proc/$1/stat" 2>/dev/null
}

# make_node_root ROOT HOSTNAME IP : creates the folders (keeps what exists)
make_node_root() {
  local root=$1 host=$2 ip=$3 hook
  mkdir -p "$root"/{run/lock,var/lib/ganeti,var/log/ganeti,root/.ssh,lab} "$root"/srv/ganeti
  chmod 700 "$root/root/.ssh"
  [[ ! -e $root/lab/etc-done ]] || return 0
  rm -rf "${root:?}/etc"
  cp -a /etc "$root/etc"
  echo "$host" > "$root/etc/hostname"
  rm -f "$root/etc/hosts"     # may be another mount's file: never write through it
  printf '127.0.0.1 localhost\n%s %s %s\n' "$ip" "$host" "${host%%.*}" > "$root/etc/hosts"
  [[ ! -e $root/etc/nsswitch.conf ]] || sed -i 's/^hosts:.*/hosts: files/' "$root/etc/nsswitch.conf"
  # A hook that prints as many bytes as the caller asks for: large answers to a real RPC.
  #   hooks_runner ["lab-big", "post", {"BYTES": "1000000"}]
  hook=$root/etc/ganeti/hooks/lab-big-post.d
  mkdir -p "$hook"
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nhead -c "${BYTES:-100}" /dev/zero | tr "\\0" x\n' > "$hook/big"
  chmod 755 "$hook/big"
  touch "$root/lab/etc-done"
}

# mount_node_root ROOT : call inside of a fresh private mount namespace
mount_node_root() {
  local root=$1
  mkdir -p /srv/ganeti /root/.ssh /var/lib/ganeti /var/log/ganeti
  mount --bind "$root/var/lib/ganeti" /var/lib/ganeti
  mount --bind "$root/var/log/ganeti" /var/log/ganeti
  mount --bind "$root/srv/ganeti" /srv/ganeti
  mount --bind "$root/root/.ssh" /root/.ssh
  mount --bind "$root/etc" /etc
  mount --bind "$root/run" /run
}

# next_version DEB OUT [SED]: the same package with a higher version, as an upgrade; SED changes the proxy's unit
next_version() {
  local tree; tree=$(mktemp -d)
  dpkg-deb -R "$1" "$tree"
  sed -i 's/^Version: .*/&+next/' "$tree/DEBIAN/control"
  [[ -z ${3:-} ]] || sed -i "$3" "$tree/usr/lib/systemd/system/noded-proxy.service"
  dpkg-deb --root-owner-group -b "$tree" "$2" >/dev/null
  rm -rf "$tree"
}
