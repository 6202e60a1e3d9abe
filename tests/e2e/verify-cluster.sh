# shellcheck shell=bash
# The step verify-cluster of ./run: what an administrator of a real cluster would do by hand, or an
# intruder, one thing at a time; `verify --cluster` on the master must name it with its node, and
# nothing else. Each is undone at once. Read by ./run, whose functions it uses.

# verify_cluster [MASTER]: NODE ID, a tab and SUBJECT: WHAT of each finding; node "-" is the cluster
verify_cluster() {
  on "${1:-n1}" noded-proxy verify --cluster --json | python3 -c '
import json, sys
report = json.load(sys.stdin)
found = [("-", one) for one in report["findings"]]
for node in report["nodes"]:
    found += [(node["node"].split(".")[0], one) for one in node["findings"]]
lines = {"%s %s\t%s: %s" % (name, one["id"], one["subject"], one["what"]) for name, one in found}
print("\n".join(sorted(lines)))'
}

# finds WHAT NODE DO UNDO FINDING...: the findings there are besides those of before. A FINDING is
# "NODE ID", or "NODE ID: TEXT" with what must stand in it: most ids say more than one thing.
finds() {
  local what=$1 n=$2 do=$3 undo=$4 all found expected one; shift 4
  expected=$(printf '%s\n' "$usual" "${@%%:*}" | sort -u | grep .)
  on "$n" sh -ec "$do" || { fail "$what: it could not be done"; return; }
  all=$(verify_cluster) found=$(cut -f1 <<<"$all" | sort -u)
  on "$n" sh -ec "$undo" || { fail "$what: it could not be undone"; return; }
  [[ $found == "$expected" ]] || { fail "$what: found $found, expected $expected"; return; }
  for one; do
    [[ $one != *:* ]] || says "$all" "${one%%:*}" "${one#*: }" || { fail "$what: $one is not in: $all"; return; }
  done
  echo "found: $what: ${*%%:*}"
}

# says LINES ID TEXT: a line of this id has the text
says() { grep -F -- "$2"$'\t' <<<"$1" | grep -qF -- "$3"; }

step_verify-cluster() {
  local out usual data=/var/lib/ganeti ssh=/root/.ssh map=ssconf_master_candidates_certs n
  local n2_id n2_pem keep restore stranger other
  out=$(on n1 noded-proxy verify --cluster) || { echo "$out"; fail "a clean cluster has findings"; return; }
  grep -qx "${#NODES[@]} nodes: nothing found" <<<"$out" || { echo "$out"; fail "it does not say so"; return; }
  # What Ganeti itself causes, as docs/verify.md lists it: n3 becomes a normal node.
  on master gnt-node modify --master-candidate=no "$(fqdn n3)" || return
  on n3 sh -c "echo 'u {HA1}00 write' >$data/rapi/users; chown gnt-rapi:gnt-masterd $data/rapi/users; chmod 640 $data/rapi/users" || return
  usual=$(verify_cluster | cut -f1 | sort -u); echo "$usual"
  [[ $usual == $'n3 configuration_backup\nn3 rapi_key_here\nn3 rapi_users_here' ]] || { fail "not what docs/verify.md lists"; return; }

  # Certificates. A copy is kept beside the file under a name that says nothing to Ganeti.
  keep() { echo "cp -p $1 /root/kept"; }
  restore() { echo "cat /root/kept >$1 && chmod --reference=/root/kept $1 && touch -r /root/kept $1 && rm /root/kept"; }   # wconfd knows its file by inode, size and time
  # replaces FILE COMMAND: its output becomes the content, mode and owner stay
  replaces() { echo "$(keep "$1"); { $2; } >/root/new; cat /root/new >$1; rm /root/new"; }
  n2_pem=$(on n2 base64 -w0 $data/client.pem) n2_id=$(on n2 base64 -w0 $ssh/id_rsa)
  local pem=$data/client.pem dead=/run/ganeti/import-export/export-disk0-x
  finds "a normal node has a candidate's client.pem" n3 "$(replaces $pem "echo $n2_pem | base64 -d")" "$(restore $pem)" \
    'n3 client_name: it is of n2.lab.example, and this node is n3' 'n3 client_stolen: is that of n2.lab.example (' &&
  finds "a candidate has the master's client.pem" n2 "$(replaces $pem "echo $(on n1 base64 -w0 $pem) | base64 -d")" "$(restore $pem)" \
    'n2 client_name: it is of n1.lab.example, and this node is n2' 'n2 client_stolen: is that of n1.lab.example (' &&
  finds "client.pem signs itself" n3 "$(replaces $pem 'openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=n3.lab.example -days 400 -keyout - 2>/dev/null')" "$(restore $pem)" \
    'n3 client_issuer: the signature is not that of server.pem' &&
  finds "the key in client.pem does not fit" n3 "$(replaces $pem "openssl genrsa 2048 2>/dev/null; openssl x509 -in $pem")" "$(restore $pem)" \
    'n3 client_key' &&
  finds "an old client.pem" n3 "install -m 600 /dev/null $pem.backup-x; cat $pem >$pem.backup-x" "rm $pem.backup-x" "n3 client_backup: $pem.backup-x: it is 0 days old" || return

  # The candidate map.
  local evil='EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE:EE'
  local differs=" map_differs: dead-beef=$evil is in config.data and not in this node's map"
  local others=(n2 "${NODES[@]:3}")   # n3 has no configuration, n1 the changed one
  local unknown=" map_entry_unknown: $evil is admitted for dead-beef, which is no node"
  finds "a stranger in the map of the configuration" n1 "$(replaces $data/config.data "python3 -c 'import json, sys
c = json.load(open(sys.argv[1])); c[\"cluster\"][\"candidate_certs\"][\"dead-beef\"] = \"$evil\"; json.dump(c, sys.stdout)' $data/config.data")" \
    "$(restore $data/config.data)" "${NODES[@]/%/$differs}" \
    "${NODES[@]/%/$unknown}" \
    "${others[@]/%/ configuration_differs: config.data: with the same serial number its candidate map is another}" &&
  finds "one more line in the map of one node" n2 "$(keep $data/$map); echo dead-beef=$evil >>$data/$map" "$(restore $data/$map)" \
    "n2 map_differs: dead-beef=$evil is in this node's map and not in config.data" "n2 map_entry_unknown: $evil is admitted for dead-beef" &&
  finds "the map of one node is old" n3 "$(replaces $data/$map "head -n 1 $data/$map")" "$(restore $data/$map)" "n3 map_differs: is in config.data and not in this node's map" &&
  finds "a list of one node is old" n3 "$(replaces $data/ssconf_master_candidates "cat $data/ssconf_node_list")" "$(restore $data/ssconf_master_candidates)" \
    'n3 ssconf_differs: ssconf_master_candidates: it has n3.lab.example too many' || return

  # Private keys.
  local make="umask 077; echo $n2_id | base64 -d"
  finds "a candidate's private key as one more file" n3 "$make >$ssh/extra" "rm $ssh/extra" "n3 ssh_foreign_key: $ssh/extra: " &&
  finds "a candidate's private key as id_rsa" n3 "$(replaces $ssh/id_rsa "echo $n2_id | base64 -d")" "$(restore $ssh/id_rsa)" \
    "n3 ssh_foreign_key: $ssh/id_rsa: " "n3 ssh_halves: $ssh/id_rsa" 'n3 ssh_normal_node' &&
  finds "a normal node without a private key" n3 "mv $ssh/id_rsa /root/kept" "mv /root/kept $ssh/id_rsa" \
    'n3 ssh_normal_node' 'n3 ssh_own_key_absent_here' &&
  finds "a candidate without a private key" n2 "mv $ssh/id_rsa /root/kept" "mv /root/kept $ssh/id_rsa" 'n2 ssh_own_key_absent' &&
  finds "id_rsa for everybody" n2 "chmod 644 $ssh/id_rsa" "chmod 600 $ssh/id_rsa" "n2 secret_readable: $ssh/id_rsa: mode 0644, owner root, group root" &&
  finds "server.pem and client.pem for everybody" n2 "chmod 444 $data/server.pem $data/client.pem" "chmod 440 $data/server.pem $data/client.pem" \
    "n2 secret_readable: $data/server.pem: mode 0444, owner gnt-masterd, group gnt-masterd" \
    "n2 secret_readable: $data/client.pem: mode 0444, owner gnt-masterd, group gnt-masterd" &&
  finds "the host's key for its group" n3 "chmod 640 /etc/ssh/ssh_host_ed25519_key" "chmod 600 /etc/ssh/ssh_host_ed25519_key" \
    'n3 secret_readable: /etc/ssh/ssh_host_ed25519_key: mode 0640' &&
  finds "luxid cannot read server.pem" n2 "chown root:root $data/server.pem" "chown gnt-masterd:gnt-masterd $data/server.pem" \
    "n2 daemon_cannot_read: $data/server.pem: gnt-masterd cannot read it: mode 0440, owner root, group root" &&
  finds "confd cannot read hmac.key" n2 "chown root $data/hmac.key" "chown gnt-confd $data/hmac.key" \
    "n2 daemon_cannot_read: $data/hmac.key: gnt-confd cannot read it: mode 0440, owner root, group gnt-masterd" &&
  finds "the key in rapi.pem does not fit" n2 "$(replaces $data/rapi.pem "openssl genrsa 2048 2>/dev/null; openssl x509 -in $data/rapi.pem")" \
    "$(restore $data/rapi.pem)" "n2 service_pem: $data/rapi.pem: " &&
  finds "a certificate of SPICE that ends" n2 "$(replaces $data/spice.pem 'openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 20 -keyout - 2>/dev/null')" \
    "$(restore $data/spice.pem)" "n2 certificate_expires: $data/spice.pem: it ends in " &&
  finds "a dead transfer" n3 "mkdir -m 700 $dead; touch -d '2 days ago' $dead" "rmdir $dead" "n3 move_transfer: $dead: it is 2 days old" || return
  on n1 ssh-keygen -q -t rsa -N '' -C '' -f /root/stranger || return
  stranger=$(on n1 cat /root/stranger.pub) other=$(on n1 base64 -w0 /root/stranger)
  on n1 rm /root/stranger /root/stranger.pub
  make="umask 077; echo $other | base64 -d >$ssh/deploy"
  on n2 sh -c "$make" &&
  finds "one private key on two nodes" n3 "$make" "rm $ssh/deploy" "- ssh_key_twice: 2 nodes have it: n2.lab.example ($ssh/deploy), n3.lab.example ($ssh/deploy)" && on n2 rm $ssh/deploy || return

  # Who may log in.
  local keys=$ssh/authorized_keys n3_key n2_key
  n3_key=$(on n3 cat $ssh/id_rsa.pub) n2_key=$(on n2 cut -d' ' -f1,2 $ssh/id_rsa.pub)
  line() { finds "$1" "$2" "$(keep $keys); echo '$3' >>$keys" "$(restore $keys)" "$4"; }
  line "a stranger's key" n2 "$stranger intruder" 'n2 ssh_stranger: intruder' &&
  line "the key of a normal node" n2 "$n3_key" 'n2 ssh_normal_node: is that of n3.lab.example' &&
  line "the same behind an option" n2 "from=\"192.0.2.0/24\" $n3_key" 'n2 ssh_normal_node: is that of n3.lab.example' &&
  line "a former key of a node" n2 "$stranger root@n1.lab.example" 'n2 ssh_old_key: root@n1.lab.example is a former key: ' &&
  line "a candidate's key twice" n3 "$n2_key" 'n3 ssh_twice: has the key of line ' &&
  finds "a candidate's key behind an option" n3 "$(replaces $keys "sed 's|^$n2_key|no-pty &|' $keys")" "$(restore $keys)" 'n3 ssh_options' &&
  finds "ganeti_pub_keys is absent" n3 "mv $data/ganeti_pub_keys /root/kept" "mv /root/kept $data/ganeti_pub_keys" \
    'n3 ssh_pub_keys_absent' 'n3 ssh_stranger' &&
  finds "ganeti_pub_keys is another" n2 "$(keep $data/ganeti_pub_keys); echo \"dead-beef $stranger x\" >>$data/ganeti_pub_keys" "$(restore $data/ganeti_pub_keys)" \
    'n2 ssh_pub_keys_differ: of dead-beef too many' &&
  finds "a password of the remote API in clear text" n3 "$(replaces $data/rapi/users "echo 'u secret write'")" "$(restore $data/rapi/users)" \
    'n3 rapi_password: the password of u can be read' || return

  # Nodes that cannot be asked, or have no proxy to ask.
  local program; program=$(on n3 sh -c 'command -v noded-proxy') || return
  finds "a node out of reach" n2 'systemctl stop ssh' 'systemctl start ssh' 'n2 node_unreachable: Connection refused' &&
  finds "a node without the program" n3 "mv $program /root/kept" "mv /root/kept $program" 'n3 node_without_proxy: its shell finds no such program' &&
  finds "a node with an old program" n3 "mv $program /root/kept; printf '#!/bin/sh\nexit 64\n' >$program; chmod 755 $program" \
    "mv /root/kept $program" 'n3 node_mute: exit status 64' || return

  # For programs.
  on n1 noded-proxy verify --cluster --nagios; [[ $? -eq 2 ]] || { fail "nagios"; return; }
  on n1 noded-proxy verify --cluster --nagios --metrics /root/cluster.prom
  on n1 grep -x 'noded_proxy_verify_cluster_node_errors{node="n3.lab.example"} 1' /root/cluster.prom && on n1 rm /root/cluster.prom || return

  # An offline node: where it is on, it is looked at, and its old map is found. Where it is off, it is none.
  on master gnt-node modify --offline=yes "$(fqdn n3)" &&
  finds "an offline node with an old map" n3 "$(replaces $data/$map "head -n 1 $data/$map")" "$(restore $data/$map)" \
    "n3 offline_outdated: map_differs: " && on n3 systemctl stop ssh || return
  out=$(on n1 noded-proxy verify --cluster); n=$?
  on n3 systemctl start ssh || return
  if [[ $n -ne 0 ]] || ! grep -qx 'not looked at: an offline node that does not answer, on n3.lab.example' <<<"$out"; then
    echo "$out"; fail "an offline node that is off"; return
  fi

  # Back, and a candidate again by that.
  on master gnt-node modify --force --offline=no "$(fqdn n3)" && all_in_maps n1 n2 n3 || return
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
