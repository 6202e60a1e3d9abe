# shellcheck shell=bash
# The step verify-cluster of ./run: what an administrator of a real cluster would do by hand, or an
# intruder, one thing at a time; `verify --cluster` on the master must name it with its node, and
# nothing else. Each is undone at once. Read by ./run, whose functions it uses.

# verify_cluster [MASTER]: NODE ID of each finding; "-" is the cluster
verify_cluster() {
  on "${1:-n1}" noded-proxy verify --cluster --json | python3 -c '
import json, sys
report = json.load(sys.stdin)
found = {"- " + one["id"] for one in report["findings"]}
for node in report["nodes"]:
    name = node["node"].split(".")[0]
    found |= {name + " " + one["id"] for one in node["findings"]}
print("\n".join(sorted(found)))'
}

# finds WHAT NODE DO UNDO FINDING...: the findings there are besides those of before
finds() {
  local what=$1 n=$2 do=$3 undo=$4 found expected; shift 4
  expected=$(printf '%s\n' "$usual" "$@" | sort -u | grep .)
  on "$n" sh -ec "$do" || { fail "$what: it could not be done"; return; }
  found=$(verify_cluster)
  on "$n" sh -ec "$undo" || { fail "$what: it could not be undone"; return; }
  [[ $found == "$expected" ]] || { fail "$what: found $found, expected $expected"; return; }
  echo "found: $what: $*"
}

step_verify-cluster() {
  local out usual data=/var/lib/ganeti ssh=/root/.ssh map=ssconf_master_candidates_certs n
  local n2_id n2_pem keep restore stranger other
  out=$(on n1 noded-proxy verify --cluster) || { echo "$out"; fail "a clean cluster has findings"; return; }
  grep -qx '3 nodes: nothing found' <<<"$out" || { echo "$out"; fail "it does not say so"; return; }
  # What Ganeti itself causes, as docs/verify.md lists it: n3 becomes a normal node.
  on master gnt-node modify --master-candidate=no "$(fqdn n3)" || return
  on n3 sh -c "echo 'u {HA1}00 write' >$data/rapi/users; chown gnt-rapi:gnt-masterd $data/rapi/users; chmod 640 $data/rapi/users" || return
  usual=$(verify_cluster); echo "$usual"
  [[ $usual == $'n3 configuration_backup\nn3 rapi_key_here\nn3 rapi_users_here' ]] || { fail "not what docs/verify.md lists"; return; }

  # Certificates. A copy is kept beside the file under a name that says nothing to Ganeti.
  keep() { echo "cp -p $1 /root/kept"; }
  restore() { echo "cat /root/kept >$1 && chmod --reference=/root/kept $1 && touch -r /root/kept $1 && rm /root/kept"; }   # wconfd knows its file by inode, size and time
  # replaces FILE COMMAND: its output becomes the content, mode and owner stay
  replaces() { echo "$(keep "$1"); { $2; } >/root/new; cat /root/new >$1; rm /root/new"; }
  n2_pem=$(on n2 base64 -w0 $data/client.pem) n2_id=$(on n2 base64 -w0 $ssh/id_rsa)
  local pem=$data/client.pem
  finds "a normal node has a candidate's client.pem" n3 "$(replaces $pem "echo $n2_pem | base64 -d")" "$(restore $pem)" \
    'n3 client_name' 'n3 client_stolen' &&
  finds "a candidate has the master's client.pem" n2 "$(replaces $pem "echo $(on n1 base64 -w0 $pem) | base64 -d")" "$(restore $pem)" \
    'n2 client_name' 'n2 client_stolen' &&
  finds "client.pem signs itself" n3 "$(replaces $pem 'openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=n3.lab.example -days 400 -keyout - 2>/dev/null')" "$(restore $pem)" \
    'n3 client_issuer' &&
  finds "the key in client.pem does not fit" n3 "$(replaces $pem "openssl genrsa 2048 2>/dev/null; openssl x509 -in $pem")" "$(restore $pem)" \
    'n3 client_key' &&
  finds "an old client.pem" n3 "install -m 600 /dev/null $pem.backup-x; cat $pem >$pem.backup-x" "rm $pem.backup-x" 'n3 client_backup' || return

  # The candidate map.
  local evil='EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE'
  finds "a stranger in the map of the configuration" n1 "$(replaces $data/config.data "python3 -c 'import json, sys
c = json.load(open(sys.argv[1])); c[\"cluster\"][\"candidate_certs\"][\"dead-beef\"] = \"$evil\"; json.dump(c, sys.stdout)' $data/config.data")" \
    "$(restore $data/config.data)" {n1,n2,n3}\ map_{differs,entry_unknown} 'n2 configuration_differs' &&
  finds "one more line in the map of one node" n2 "$(keep $data/$map); echo dead-beef=$evil >>$data/$map" "$(restore $data/$map)" \
    'n2 map_differs' 'n2 map_entry_unknown' &&
  finds "the map of one node is old" n3 "$(replaces $data/$map "head -n 1 $data/$map")" "$(restore $data/$map)" 'n3 map_differs' &&
  finds "a list of one node is old" n3 "$(replaces $data/ssconf_master_candidates "cat $data/ssconf_node_list")" "$(restore $data/ssconf_master_candidates)" \
    'n3 ssconf_differs' || return

  # Private keys.
  local make="umask 077; echo $n2_id | base64 -d"
  finds "a candidate's private key as one more file" n3 "$make >$ssh/extra" "rm $ssh/extra" 'n3 ssh_foreign_key' &&
  finds "a candidate's private key as id_rsa" n3 "$(replaces $ssh/id_rsa "echo $n2_id | base64 -d")" "$(restore $ssh/id_rsa)" \
    'n3 ssh_foreign_key' 'n3 ssh_halves' 'n3 ssh_normal_node' &&
  finds "a normal node without a private key" n3 "mv $ssh/id_rsa /root/kept" "mv /root/kept $ssh/id_rsa" \
    'n3 ssh_normal_node' 'n3 ssh_own_key_absent_here' &&
  finds "a candidate without a private key" n2 "mv $ssh/id_rsa /root/kept" "mv /root/kept $ssh/id_rsa" 'n2 ssh_own_key_absent' &&
  finds "id_rsa for everybody" n2 "chmod 644 $ssh/id_rsa" "chmod 600 $ssh/id_rsa" 'n2 secret_readable' &&
  finds "server.pem and client.pem for everybody" n2 "chmod 444 $data/server.pem $data/client.pem" "chmod 440 $data/server.pem $data/client.pem" \
    'n2 secret_readable' || return
  on n1 ssh-keygen -q -t rsa -N '' -C '' -f /root/stranger || return
  stranger=$(on n1 cat /root/stranger.pub) other=$(on n1 base64 -w0 /root/stranger)
  on n1 rm /root/stranger /root/stranger.pub
  make="umask 077; echo $other | base64 -d >$ssh/deploy"
  on n2 sh -c "$make" &&
  finds "one private key on two nodes" n3 "$make" "rm $ssh/deploy" '- ssh_key_twice' && on n2 rm $ssh/deploy || return

  # Who may log in.
  local keys=$ssh/authorized_keys n3_key n2_key
  n3_key=$(on n3 cat $ssh/id_rsa.pub) n2_key=$(on n2 cut -d' ' -f1,2 $ssh/id_rsa.pub)
  line() { finds "$1" "$2" "$(keep $keys); echo '$3' >>$keys" "$(restore $keys)" "$4"; }
  line "a stranger's key" n2 "$stranger intruder" 'n2 ssh_stranger' &&
  line "the key of a normal node" n2 "$n3_key" 'n2 ssh_normal_node' &&
  line "the same behind an option" n2 "from=\"192.0.2.0/24\" $n3_key" 'n2 ssh_normal_node' &&
  line "a former key of a node" n2 "$stranger root@n1.lab.example" 'n2 ssh_old_key' &&
  line "a candidate's key twice" n3 "$n2_key" 'n3 ssh_twice' &&
  finds "a candidate's key behind an option" n3 "$(replaces $keys "sed 's|^$n2_key|no-pty &|' $keys")" "$(restore $keys)" 'n3 ssh_options' &&
  finds "ganeti_pub_keys is absent" n3 "mv $data/ganeti_pub_keys /root/kept" "mv /root/kept $data/ganeti_pub_keys" \
    'n3 ssh_pub_keys_absent' 'n3 ssh_stranger' &&
  finds "ganeti_pub_keys is another" n2 "$(keep $data/ganeti_pub_keys); echo \"dead-beef $stranger x\" >>$data/ganeti_pub_keys" "$(restore $data/ganeti_pub_keys)" \
    'n2 ssh_pub_keys_differ' &&
  finds "a password of the remote API in clear text" n3 "$(replaces $data/rapi/users "echo 'u secret write'")" "$(restore $data/rapi/users)" \
    'n3 rapi_password' || return

  # Nodes that cannot be asked, or have no proxy to ask.
  local program; program=$(on n3 sh -c 'command -v noded-proxy') || return
  finds "a node out of reach" n2 'systemctl stop ssh' 'systemctl start ssh' 'n2 node_unreachable' &&
  finds "a node without the program" n3 "mv $program /root/kept" "mv /root/kept $program" 'n3 node_without_proxy' &&
  finds "a node with an old program" n3 "mv $program /root/kept; printf '#!/bin/sh\nexit 64\n' >$program; chmod 755 $program" \
    "mv /root/kept $program" 'n3 node_mute' || return

  # For programs, and all as it was.
  on n1 noded-proxy verify --cluster --nagios; [[ $? -eq 2 ]] || { fail "nagios"; return; }
  on n1 noded-proxy verify --cluster --nagios --metrics /root/cluster.prom
  on n1 grep -x 'noded_proxy_verify_cluster_node_errors{node="n3.lab.example"} 1' /root/cluster.prom && on n1 rm /root/cluster.prom || return
  on master gnt-node modify --master-candidate=yes "$(fqdn n3)" && all_in_maps n1 n2 n3 || return
  for n in n1 n2 n3; do on "$n" sh -c "rm -f $data/config.data.backup-*" || return; done
  on n3 rm $data/rapi/users
  out=$(on n1 noded-proxy verify --cluster) || { echo "$out"; fail "not clean again"; return; }

  # Asked by Ganeti's own cluster verify: errors alone.
  local hook=cluster-verify-post.d/noded-proxy-verify
  on n3 install -D -m 755 /usr/share/noded-proxy/hooks/$hook /etc/ganeti/hooks/$hook && on n3 chmod 644 $ssh/id_rsa || return
  ! out=$(on master gnt-cluster verify 2>&1) || { echo "$out"; fail "cluster verify is content"; return; }
  on n3 chmod 600 $ssh/id_rsa; on n3 rm -r /etc/ganeti/hooks
  grep -E 'n3\S*: noded-proxy verify: .*secret_readable' <<<"$out" || { echo "$out"; fail "cluster verify does not say it"; return; }
  cluster verify
}
