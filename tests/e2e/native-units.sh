# shellcheck shell=bash
# The step native-units of ./run: a node whose Ganeti has systemd units of its own, as upstream ships
# them, of three kinds; Debian's packages have none. `install` changes what each of them reads, and
# `uninstall` puts that back byte for byte. Read by ./run, whose functions it uses.

units=/etc/systemd/system

# native NODE LINES: ganeti-noded.service with these lines, and what belongs to it
native() {
  on "$1" sh -c "cat >$units/ganeti-noded.service" <<UNIT
[Unit]
Description = Ganeti node daemon (noded)
PartOf = ganeti.target
ConditionPathExists = /var/lib/ganeti/server.pem

[Service]
Type = simple
$2
Restart = on-failure
KillMode = process

[Install]
WantedBy = ganeti.target
UNIT
  on "$1" sh -c "printf '[Unit]\nDescription = Ganeti\nWants = ganeti-noded.service\n' >$units/ganeti.target
    systemctl daemon-reload && systemctl start ganeti.target ganeti-noded.service"
}

# native_files NODE: what noded's arguments come from, with owner, mode and content
native_files() {
  on "$1" sh -c 'for f in /etc/default/ganeti /etc/sysconfig/ganeti /etc/systemd/system/ganeti*; do
      test ! -e $f || { stat -c "%n %F %U %G %a" $f; test -d $f || sha1sum $f; }; done
    find /etc/systemd/system -path "*ganeti*" | sort'
}

# native_ways NODE CHANGED: install, what is changed and where noded then is, and the way back
native_ways() {
  local n=$1 before files out
  wait_until 10 rpc n1 "$n" version || { fail "noded does not answer by its unit"; return; }
  before=$(before_install "$n") files=$(native_files "$n")
  on "$n" noded-proxy install --apply --wait || return
  on "$n" grep -F -- '-p 298 --no-ssl' "$2" || { fail "$2 does not have noded's arguments"; return; }
  [[ $(on "$n" systemctl show -P SubState ganeti-noded) == running ]] || { fail "noded does not run by its unit"; return; }
  on "$n" sh -c 'ss -Hltnp "sport = :298" | grep "pid=$(systemctl show -P MainPID ganeti-noded)"' || { fail "noded is not on loopback"; return; }
  rpc n1 "$n" version && nobody_kept_out "$n" && on "$n" noded-proxy check --quiet || return
  on "$n" noded-proxy install --apply | grep 'nothing to do' || { fail "a second time it does something"; return; }
  # noded comes back behind the proxy when systemd starts it, too.
  on "$n" systemctl reset-failed ganeti-noded && on "$n" systemctl restart ganeti-noded &&
  wait_until 10 rpc n1 "$n" version || { fail "after a restart of the unit"; return; }
  # One start more, and systemd refuses (StartLimitBurst=5): the way back must not stand still there.
  on "$n" sh -c 'for k in 1 2 3 4; do systemctl restart ganeti-noded || exit; done' &&
  wait_until 10 rpc n1 "$n" version || { fail "the unit cannot be restarted"; return; }
  on "$n" noded-proxy uninstall --apply --wait || return
  out=$(native_files "$n")
  [[ $out == "$files" ]] || { diff <(echo "$files") <(echo "$out"); fail "the files are not as before"; return; }
  out=$(before_install "$n" | grep -v '^active\|^inactive')
  [[ $out == "$(grep -v '^active\|^inactive' <<<"$before")" ]] || { diff <(echo "$before") <(echo "$out"); fail "not all is back"; return; }
  wait_until 10 rpc n1 "$n" version || fail "no answer afterwards"
}

native_kinds() {
  local n=$1 run='ExecStart = /usr/sbin/ganeti-noded -f'
  # From 3.0 on.
  native "$n" "EnvironmentFile = -/etc/default/ganeti
$run \$NODED_ARGS \$ONETIME_ARGS" && native_ways "$n" /etc/default/ganeti || { fail "with /etc/default/ganeti"; return; }
  # The same where the distribution has /etc/sysconfig.
  on "$n" sh -c 'mkdir -p /etc/sysconfig && mv /etc/default/ganeti /etc/sysconfig/ganeti' &&
  native "$n" "EnvironmentFile = -/etc/sysconfig/ganeti
$run \$NODED_ARGS \$ONETIME_ARGS" && native_ways "$n" /etc/sysconfig/ganeti || { fail "with /etc/sysconfig/ganeti"; return; }
  on "$n" sh -c 'mv /etc/sysconfig/ganeti /etc/default/ganeti && rmdir /etc/sysconfig' || return
  # 2.12 to 2.16: the unit does not know NODED_ARGS.
  native "$n" "EnvironmentFile = -/var/lib/ganeti/ganeti-noded.onetime.conf
$run \$ONETIME_ARGS" && native_ways "$n" $units/ganeti-noded.service.d/noded-proxy.conf || fail "with a drop-in"
}

step_native-units() {
  local n=n2 rc=0
  push_proxy $n && on $n noded-proxy uninstall --apply --wait && wait_until 10 rpc n1 $n version &&
  on $n cp -a /etc/default/ganeti /root/defaults || return
  on $n /usr/lib/ganeti/daemon-util stop ganeti-noded &&
  native_kinds $n || rc=1
  on $n sh -c "systemctl stop ganeti.target ganeti-noded.service; rm -f $units/ganeti-noded.service $units/ganeti.target
    systemctl daemon-reload; test -e /etc/default/ganeti || mv /etc/sysconfig/ganeti /etc/default/ganeti
    cmp /etc/default/ganeti /root/defaults && /usr/lib/ganeti/daemon-util start ganeti-noded" || rc=1
  wait_until 10 rpc n1 $n version && cluster verify && return $rc
}
