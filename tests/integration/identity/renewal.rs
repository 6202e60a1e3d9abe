//! `gnt-cluster renew-crypto --new-node-certificates` (Ganeti 3.0.2), replayed: the master writes a
//! map with one `bootstrap=` entry and no newline, scp puts it on the node in place with mode 0600,
//! then the full map comes. Here the bytes come one by one, with pauses long enough for the proxy
//! to read the file in between.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

use crate::support::client::{Tls, admitted, refusal};
use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::Proxy;

/// Longer than the proxy waits for quiet before it reads.
const PAUSE: Duration = Duration::from_millis(30);

struct Cluster {
    pki: Pki,
    old_master: Identity,
    new_master: Identity,
    /// What no moment may admit.
    never: Vec<Identity>,
}

impl Cluster {
    fn new() -> Self {
        let pki = Pki::new();
        let never = vec![
            pki.server().clone(), // every node holds it
            pki.client("node9"),  // a node that is no candidate
            pki.foreign("node1"),
        ];
        let (old_master, new_master) = (pki.client("node1"), pki.client("node1"));
        Self {
            pki,
            old_master,
            new_master,
            never,
        }
    }

    /// Nobody is admitted wrongly now, and the master has a certificate that is.
    fn holds(&self, proxy: &Proxy, when: &str) {
        for (at, identity) in self.never.iter().enumerate() {
            assert!(
                !admitted(proxy.addr(), identity),
                "{at} was admitted: {when}"
            );
        }
        let old = admitted(proxy.addr(), &self.old_master);
        assert!(
            old || admitted(proxy.addr(), &self.new_master),
            "locked out: {when}"
        );
    }
}

/// Opens as scp does: in place, truncated, and for root alone.
fn scp(proxy: &Proxy) -> File {
    let path = proxy.map_path();
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn byte_by_byte_it_admits_nobody_wrongly_and_never_locks_the_master_out() {
    let cluster = Cluster::new();
    let second = cluster.pki.client("node2");
    let proxy = Proxy::with(&cluster.pki)
        .candidates(&[("uuid-1", &cluster.old_master), ("uuid-2", &second)])
        .start();
    cluster.holds(&proxy, "before");
    let bootstrap = format!("bootstrap={}", cluster.new_master.digest);
    let mut file = scp(&proxy);
    for (at, byte) in bootstrap.bytes().enumerate() {
        sleep(PAUSE);
        // Looked at where it matters: the empty file, each border, and the last byte but one.
        if at < 2 || (8..13).contains(&at) || at % 12 == 0 || at + 2 >= bootstrap.len() {
            proxy.sighup();
            cluster.holds(&proxy, &format!("{at} bytes are written"));
            assert!(
                !admitted(proxy.addr(), &cluster.new_master),
                "before its entry is whole"
            );
        }
        file.write_all(&[byte]).unwrap();
    }
    drop(file);
    proxy.wait_for("the new master is admitted", |proxy| {
        admitted(proxy.addr(), &cluster.new_master)
    });
    assert!(refusal(proxy.addr(), Some(&cluster.old_master), Tls::Any).is_some());
    assert!(refusal(proxy.addr(), Some(&second), Tls::Any).is_some());
    cluster.holds(&proxy, "the bootstrap entry stands alone");

    // The job collects the digests and noded replaces the map.
    let new_second = cluster.pki.client("node2");
    proxy.write_map(&[("uuid-1", &cluster.new_master), ("uuid-2", &new_second)]);
    proxy.wait_for("the full map is in force", |proxy| {
        admitted(proxy.addr(), &new_second)
    });
    assert!(admitted(proxy.addr(), &cluster.new_master));
    cluster.holds(&proxy, "after");
}

/// A short map over a long one without truncation: the old tail stays visible behind the new head.
#[test]
fn a_short_map_written_over_a_long_one_is_a_fault_until_it_is_cut() {
    let cluster = Cluster::new();
    let second = cluster.pki.client("node2");
    let proxy = Proxy::with(&cluster.pki)
        .candidates(&[("uuid-1", &cluster.old_master), ("uuid-2", &second)])
        .start();
    let bootstrap = format!("bootstrap={}", cluster.new_master.digest);
    let path = proxy.map_path();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    for piece in bootstrap.as_bytes().chunks(23) {
        file.write_all(piece).unwrap();
        proxy.sighup();
        cluster.holds(&proxy, "written over");
        assert!(!admitted(proxy.addr(), &cluster.new_master));
    }
    file.set_len(bootstrap.len() as u64).unwrap();
    drop(file);
    proxy.wait_for("it is cut", |proxy| {
        admitted(proxy.addr(), &cluster.new_master)
    });
}

/// The full map in place, cut after each line: whole lines are a map, and nobody else gets in
/// meanwhile.
#[test]
fn the_full_map_in_place_grows_line_by_line() {
    let cluster = Cluster::new();
    let others: Vec<Identity> = (2..5)
        .map(|n| cluster.pki.client(&format!("node{n}")))
        .collect();
    let proxy = Proxy::with(&cluster.pki)
        .candidates(&[("bootstrap", &cluster.new_master)])
        .start();
    let mut map = vec![("uuid-1", &cluster.new_master)];
    map.extend(["uuid-2", "uuid-3", "uuid-4"].into_iter().zip(&others));
    let text = map_text(&map);
    let mut file = scp(&proxy);
    for piece in text.as_bytes().chunks(33) {
        sleep(PAUSE);
        proxy.sighup();
        cluster.holds(&proxy, "in between");
        file.write_all(piece).unwrap();
    }
    drop(file);
    proxy.wait_for("all are admitted", |proxy| {
        others.iter().all(|other| admitted(proxy.addr(), other))
    });
}

/// Mode 0600 and another owner: the proxy without the power to read it keeps the last good map, and
/// says so.
#[test]
fn a_map_that_cannot_be_read_for_a_while_changes_nothing() {
    let cluster = Cluster::new();
    let proxy = Proxy::with(&cluster.pki)
        .candidates(&[("uuid-1", &cluster.old_master)])
        .unprivileged()
        .start();
    let path = proxy.map_path();
    std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    proxy.wait_for("it is a fault", |proxy| {
        proxy.metric("noded_proxy_candidate_map_stale") == 1.0
    });
    cluster.holds(&proxy, "unreadable");
    std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    proxy.wait_for("it is good again", |proxy| {
        proxy.metric("noded_proxy_candidate_map_stale") == 0.0
    });
}

/// A new `server.pem` as well: what was latched under the old one holds until the map is renewed
/// too.
#[test]
fn with_a_new_cluster_certificate_the_master_is_not_locked_out_either() {
    let cluster = Cluster::new();
    let proxy = Proxy::with(&cluster.pki)
        .candidates(&[("uuid-1", &cluster.old_master)])
        .start();
    let renewed = cluster.pki.renewed_server(1825);
    let cut = renewed.pem.len() / 2;
    let mut file = File::create(proxy.server_pem_path()).unwrap();
    file.write_all(&renewed.pem.as_bytes()[..cut]).unwrap();
    proxy.sighup();
    cluster.holds(&proxy, "half of server.pem");
    file.write_all(&renewed.pem.as_bytes()[cut..]).unwrap();
    drop(file);
    proxy.wait_for("the new certificate is shown", |proxy| {
        proxy.status()["server_pem"]["digest"] == renewed.digest
    });
    cluster.holds(&proxy, "the new server.pem, the old map");
    assert!(!admitted(proxy.addr(), &renewed));
    let mut file = scp(&proxy);
    proxy.sighup();
    // The master's own entry has to come: an empty map under a server.pem that was seen with a map
    // is a fault.
    assert!(
        !admitted(proxy.addr(), &renewed),
        "the empty file of that moment"
    );
    let bootstrap = format!("bootstrap={}", cluster.new_master.digest);
    file.write_all(bootstrap.as_bytes()).unwrap();
    drop(file);
    proxy.wait_for("the new master is admitted", |proxy| {
        admitted(proxy.addr(), &cluster.new_master)
    });
}
