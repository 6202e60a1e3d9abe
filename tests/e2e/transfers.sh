# shellcheck shell=bash
# The step transfers of ./run: disks that go from n1 to n2 by `noded-proxy import-export`, and their
# numbers in Prometheus, for the dashboard's row. Read by ./run, whose functions it uses. ./moves tries
# the transfers themselves.

storage=/srv/ganeti/file-storage
collected=/var/lib/prometheus/node-exporter

# A web server of its own stands for node_exporter, and serves its textfiles as they are.
numbers_of() {   # numbers_of NODE: begin to serve them
  on "$1" mkdir -p "$collected" && on "$1" noded-proxy install --moves --apply &&
  on "$1" systemd-run --quiet --unit=numbers python3 -m http.server --bind "$(node_address "$1")" --directory "$collected" 9100
}

whole_transfers() { promql_above 'sum(noded_proxy_moves_transfers_total{result="whole"})' "$1"; }

disk_transfers() {
  local i=inst1.lab.example n file count
  for n in "${NODES[@]}"; do on "$n" sh -c "mkdir -p $storage && echo $storage >/etc/ganeti/file-storage-paths" || return; done
  on master gnt-cluster modify --enabled-disk-templates=diskless,file --ipolicy-disk-templates=diskless,file --file-storage-dir=$storage &&
  numbers_of n1 && numbers_of n2 || return
  node exec mon sh -c "cat >>/etc/prometheus/prometheus.yml && systemctl kill --signal=HUP scraper" <<YAML || return
  - job_name: node
    metrics_path: /noded-proxy-moves.prom
    static_configs: [{targets: ["$(ip_of n1):9100", "$(ip_of n2):9100"]}]
YAML
  on master gnt-instance add -t file -o noop+default --disk 0:size=64M -n "$(fqdn n1)" --no-name-check --no-ip-check --no-start \
    --no-nics -B minmem=64,maxmem=64 $i || return
  file=$(on n1 find "$storage/$i" -type f) && on n1 dd if=/dev/urandom "of=$file" bs=1M count=64 conv=notrunc status=none || return
  for count in 1 2 3 4; do
    on master timeout 300 gnt-backup export --noshutdown -n "$(fqdn n2)" $i && on master gnt-backup remove $i || { fail "export $count"; return; }
    # Each has a sender and a receiver; the first ones are the beginning of their counters.
    wait_until 30 whole_transfers $((2 * count - 1)) || { fail "after $count: $(promql 'sum(noded_proxy_moves_transfers_total)')"; return; }
  done
  promql_above 'sum(noded_proxy_moves_bytes_total)' $((400 << 20)) || fail "bytes: $(promql 'sum(noded_proxy_moves_bytes_total)')"
}

step_transfers() {
  local rc=0 n
  disk_transfers || rc=1
  on master gnt-instance remove -f inst1.lab.example
  on master gnt-cluster modify --enabled-disk-templates=diskless --ipolicy-disk-templates=diskless || rc=1
  for n in n1 n2; do on $n systemctl stop numbers; on $n noded-proxy uninstall --moves --apply --wait || rc=1; done
  for n in "${NODES[@]}"; do on "$n" rm -rf /etc/ganeti/file-storage-paths $storage $collected || rc=1; done
  cluster verify && return $rc
}
