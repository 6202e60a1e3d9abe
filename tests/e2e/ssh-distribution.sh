# shellcheck shell=bash
# The step ssh-distribution of ./run: a cluster of its own, made with --no-ssh-init, whose nodes all
# have one SSH pair, as Ganeti before 2.13 left them. Private keys follow the roles of nodes, at last
# each candidate has a pair of its own. Read by ./run, whose functions it uses.

pair=/root/.ssh/id_rsa
has_pair() { on "$1" test -e $pair; }
has_no_pair() { ! has_pair "$1"; }

# private_on NODE...: private keys are on these nodes and on no other
private_on() {
  local n found=''
  for n in n1 n2 n3; do if has_pair "$n"; then found+=" $n"; fi; done
  [[ $found == " $*" ]] || fail "private keys on$found, expected $*"
}

# nobody_locked_out NODE...: each of these gets in everywhere
nobody_locked_out() {
  local a b
  for a in "$@"; do
    for b in n1 n2 n3; do logs_in "$a" "$b" || { fail "$a does not get to $b"; return; }; done
  done
}

# whole NODE...: both for these candidates, as soon as the hooks have done their work
whole() {
  local n
  for n in n1 n2 n3; do
    case " $* " in
      *" $n "*) wait_until 60 has_pair $n;;
      *) wait_until 60 has_no_pair $n;;
    esac || { on master journalctl --no-pager -o cat -t noded-proxy | tail -20; fail "$n"; return; }
  done
  wait_until 60 hooks_done && private_on "$@" && nobody_locked_out "$@"
}
hooks_done() { on master noded-proxy ssh-keys plan | tail -1 | grep -q 'nothing to do'; }

switch_off() { on "$1" sh -c '/usr/lib/ganeti/daemon-util stop-all; systemctl stop ssh.service ssh.socket 2>/dev/null; true'; }
switch_on() { on "$1" sh -c 'systemctl start ssh.service; /usr/lib/ganeti/daemon-util start ganeti-noded; /usr/lib/ganeti/daemon-util start ganeti-confd; true'; }

one_pair_cluster() {
  local n all=()
  rm -rf "$LAB_ONE_PAIR" && mkdir -p "$LAB_ONE_PAIR" || return
  ssh-keygen -q -t rsa -b 2048 -N '' -C root@lab -f "$LAB_ONE_PAIR/id_rsa" &&
  ssh-keygen -q -t rsa -b 2048 -N '' -C host -f "$LAB_ONE_PAIR/ssh_host_rsa_key" &&
  ssh-keygen -q -t ecdsa -N '' -C host -f "$LAB_ONE_PAIR/ssh_host_ecdsa_key" &&
  cluster up 3 && on master gnt-cluster modify --candidate-pool-size=2 || return
  for n in n1 n2 n3; do push_proxy $n & all+=($!); done
  for n in "${all[@]}"; do wait "$n" || return; done
}

distribution() {
  local n out ids
  one_pair_cluster && nobody_locked_out n1 n2 n3 && cluster verify || return

  # What verify says of it, and the way out that it names.
  on master gnt-node modify --master-candidate=no "$(fqdn n3)" || return
  ids=$(verify_cluster master | cut -f1); echo "$ids"
  grep -x 'n3 ssh_shared_key' <<<"$ids" || { fail "verify does not see the shared pair"; return; }
  out=$(on master noded-proxy ssh-keys) && echo "$out" && grep -q 'delete   id_rsa' <<<"$out" && private_on n1 n2 n3 || return
  on master noded-proxy ssh-keys apply && private_on n1 n2 && nobody_locked_out n1 n2 || return
  ids=$(verify_cluster master | cut -f1); echo "$ids"
  ! grep ssh_ <<<"$ids" || { fail "verify finds SSH keys although all is as it should be"; return; }

  # From here on by hooks: promotion and demotion.
  for n in n1 n2 n3; do on $n noded-proxy ssh-keys hooks >/dev/null || return; done
  on master gnt-node modify --master-candidate=yes "$(fqdn n3)" && whole n1 n2 n3 &&
  on master gnt-node modify --master-candidate=no "$(fqdn n3)" && whole n1 n2 && cluster verify || return

  # A candidate is off while it is demoted and another one promoted; it is added again.
  switch_off n2
  on master gnt-node modify --offline=yes --auto-promote "$(fqdn n2)" && wait_until 60 has_pair n3 && has_pair n2 || return
  switch_on n2
  cluster add n2 --readd && whole n1 n3 || return

  # The promoted one takes over; then each candidate gets a pair of its own.
  on n3 gnt-cluster master-failover && [[ $(cluster master) == n3 ]] && whole n1 n3 || return
  node push n2 "$LAB_ONE_PAIR/id_rsa" /root/shared && on n2 chmod 600 /root/shared || return
  for n in n1 n2 n3; do logs_in n2 $n /root/shared || { fail "a copy of the shared key does not open $n: why own pairs?"; return; }; done
  on master noded-proxy ssh-keys apply --own-pairs && private_on n1 n3 && nobody_locked_out n1 n3 && cluster verify || return
  for n in n1 n2 n3; do
    ! logs_in n2 $n /root/shared || { fail "the shared key still opens $n"; return; }
  done
  # A copy of a demoted candidate's key opens nothing, and a promoted one's does.
  on n1 cp -p $pair /root/copy && on master gnt-node modify --master-candidate=no --auto-promote "$(fqdn n1)" && whole n2 n3 || return
  for n in n1 n2 n3; do ! logs_in n1 $n /root/copy || { fail "a demoted node's key still opens $n"; return; }; done
  ids=$(verify_cluster master | cut -f1); echo "$ids"
  ! grep ssh_ <<<"$ids" || { fail "verify finds SSH keys although all is as it should be"; return; }
  cluster verify
}

step_ssh-distribution() {
  local rc=0
  export LAB_ONE_PAIR=$LAB_DIR-pair/one-pair
  export LAB_DIR=$LAB_DIR-pair
  distribution || rc=$?
  [[ -n ${E2E_KEEP_PAIR:-} ]] || node purge
  return $rc
}
