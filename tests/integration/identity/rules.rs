//! Audit mode, `bind_peer`, and a certificate that two nodes use.

use std::net::{IpAddr, SocketAddr};

use openssl::ssl::{Ssl, SslStream};
use socket2::{Domain, Socket, Type};

use crate::support::PATIENCE;
use crate::support::client::{Tls, admitted, context, refusal, rpc};
use crate::support::handing::reloaded;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Proxy, replace};
use crate::support::stub::StubNoded;

/// Whether this client is admitted when it calls from that loopback address.
pub(crate) fn admitted_from(proxy: &Proxy, identity: &Identity, from: &str) -> bool {
    let from: IpAddr = from.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&proxy.addr().into()).unwrap();
    let tcp = std::net::TcpStream::from(socket);
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let ssl = Ssl::new(&context(Some(identity), Tls::V12).build()).unwrap();
    // In TLS 1.2 a refused client fails in the handshake.
    SslStream::new(ssl, tcp).unwrap().connect().is_ok()
}

fn audited(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!(
        "noded_proxy_audit_refusals_total{{reason=\"{reason}\"}}"
    ))
}

#[test]
fn audit_mode_admits_every_certificate_of_the_cluster_and_tells_what_enforce_would_do() {
    let pki = Pki::new();
    let (master, node) = (pki.client("node1"), pki.client("node9"));
    let (old, foreign) = (pki.self_signed("node3"), pki.foreign("node9"));
    let stub = StubNoded::usual();
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &master), ("u3", &old)])
        .upstream(stub.address())
        .config("admission.mode = 'audit'")
        .start();
    assert_eq!(
        rpc(proxy.addr(), &master, "version", "[]").unwrap().status,
        200
    );
    assert_eq!(
        rpc(proxy.addr(), &old, "version", "[]").unwrap().status,
        200,
        "in the map"
    );
    assert_eq!(audited(&proxy, "unknown_digest"), 0.0);
    assert_eq!(
        rpc(proxy.addr(), &node, "version", "[]").unwrap().status,
        200
    );
    assert_eq!(audited(&proxy, "unknown_digest"), 1.0);
    assert_eq!(
        rpc(proxy.addr(), pki.server(), "version", "[]")
            .unwrap()
            .status,
        200
    );
    assert_eq!(audited(&proxy, "unknown_digest"), 2.0);
    assert!(refusal(proxy.addr(), Some(&foreign), Tls::Any).is_some());
    // The alert is out before the refused connection is counted.
    proxy.wait_for("it is counted", |p| p.rejected("unknown_digest") == 1.0);
    // Loudly: metric, /status, health and log.
    assert_eq!(proxy.metric("noded_proxy_mode{mode=\"audit\"}"), 1.0);
    assert_eq!(proxy.metric("noded_proxy_mode{mode=\"enforce\"}"), 0.0);
    assert_eq!(proxy.status()["mode"], "audit");
    let (status, health) = proxy.health();
    assert_eq!((status, health["degraded"].as_bool()), (200, Some(true)));
    assert!(
        health["reasons"].to_string().contains("AUDIT MODE"),
        "{health}"
    );
    assert_eq!(
        proxy
            .lines_with("admitted in audit mode; enforce would refuse it")
            .len(),
        2
    );
    // What audit admits beyond the map is no candidate, and is not learned.
    let names: Vec<_> = std::fs::read_dir(proxy.dir().join("state/learned"))
        .map(|entries| entries.count())
        .into_iter()
        .collect();
    assert!(names.iter().all(|count| *count <= 2), "{names:?}");
}

#[test]
fn enforce_is_the_default_and_says_so() {
    let pki = Pki::new();
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &pki.client("node1"))])
        .start();
    assert!(!admitted(proxy.addr(), &pki.client("node9")));
    assert_eq!(proxy.metric("noded_proxy_mode{mode=\"enforce\"}"), 1.0);
    assert_eq!(proxy.status()["mode"], "enforce");
}

fn write_addresses(proxy: &Proxy, candidates: &str, nodes: &str) {
    let file = |name: &str| proxy.dir().join("ganeti").join(name);
    replace(
        &file("ssconf_master_candidates_ips"),
        candidates.as_bytes(),
        0o444,
    );
    replace(&file("ssconf_node_primary_ips"), nodes.as_bytes(), 0o444);
    proxy.sighup();
}

const NODES: &str = "node1 127.0.0.1\nnode2 127.0.0.2\nnode3 127.0.0.3\n";

#[test]
fn bind_peer_enforced_wants_each_certificate_from_its_own_nodes_address() {
    let pki = Pki::new();
    let (one, two) = (pki.client("node1"), pki.client("node2"));
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &one), ("u2", &two)])
        .config("admission.bind_peer = 'enforce'")
        .start();
    assert!(
        !admitted_from(&proxy, &one, "127.0.0.1"),
        "closed while nothing is known"
    );
    write_addresses(&proxy, "127.0.0.1\n127.0.0.2\n", NODES);
    proxy.wait_for("the addresses are known", |proxy| {
        admitted_from(proxy, &one, "127.0.0.1")
    });
    assert!(admitted_from(&proxy, &two, "127.0.0.2"));
    let (others, nobodys) = ("other_nodes_certificate", "address_not_candidate");
    let before = proxy.rejected(nobodys);
    assert!(!admitted_from(&proxy, &one, "127.0.0.2"));
    assert!(!admitted_from(&proxy, &two, "127.0.0.3"));
    proxy.wait_for("both are counted", |p| {
        p.rejected(others) == 1.0 && p.rejected(nobodys) > before
    });
    // The candidates change, and the next handshake knows.
    write_addresses(&proxy, "127.0.0.1\n", NODES);
    proxy.wait_for("two is none any more", |proxy| {
        !admitted_from(proxy, &two, "127.0.0.2")
    });
}

/// By IPv6 Linux lets the master call from the cluster's address. A node that was away during the
/// failover still takes another one for master.
#[test]
fn bind_peer_enforced_hears_a_new_master_from_the_clusters_address() {
    let pki = Pki::new();
    let [one, two, three] = ["node1", "node2", "node3"].map(|name| pki.client(name));
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &one), ("u2", &two), ("u3", &three)])
        .config("admission.bind_peer = 'enforce'")
        .start();
    let ssconf = proxy.dir().join("ganeti");
    replace(&ssconf.join("ssconf_master_node"), b"node1\n", 0o444);
    replace(&ssconf.join("ssconf_master_ip"), b"127.0.0.9\n", 0o444);
    write_addresses(&proxy, "127.0.0.1\n127.0.0.2\n", NODES);
    proxy.wait_for("the old master is heard", |proxy| {
        admitted_from(proxy, &one, "127.0.0.9")
    });
    assert!(admitted_from(&proxy, &two, "127.0.0.9"), "and the new one");
    let reason = "other_nodes_certificate";
    assert_eq!(proxy.rejected(reason), 0.0);
    assert!(!admitted_from(&proxy, &three, "127.0.0.9"), "no candidate");
    proxy.wait_for("it is counted", |proxy| proxy.rejected(reason) == 1.0);
    // The cluster gets another address.
    replace(&ssconf.join("ssconf_master_ip"), b"127.0.0.8\n", 0o444);
    proxy.wait_for("the new address is known", |proxy| {
        admitted_from(proxy, &two, "127.0.0.8")
    });
    assert!(!admitted_from(&proxy, &two, "127.0.0.9"), "it is nobody's");
}

#[test]
fn bind_peer_warn_admits_counts_and_logs() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let proxy = Proxy::with(&pki)
        .candidates(&[("u1", &one)])
        .config("admission.bind_peer = 'warn'")
        .start();
    write_addresses(&proxy, "127.0.0.1\n127.0.0.2\n", NODES);
    let misplaced = |reason: &str| {
        proxy.metric(&format!(
            "noded_proxy_misplaced_peers_total{{reason=\"{reason}\"}}"
        ))
    };
    proxy.wait_for("the addresses are known", |proxy| {
        let before = misplaced("address_not_candidate");
        admitted_from(proxy, &one, "127.0.0.1") && misplaced("address_not_candidate") == before
    });
    let before = misplaced("other_nodes_certificate");
    assert!(admitted_from(&proxy, &one, "127.0.0.2"));
    proxy.wait_for("it is counted", |_| {
        misplaced("other_nodes_certificate") == before + 1.0
    });
}

#[test]
fn a_certificate_that_two_nodes_use_is_told() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    write_addresses(&proxy, "127.0.0.1\n127.0.0.2\n", NODES);
    proxy.wait_for("the addresses are known", |proxy| {
        admitted_from(proxy, &one, "127.0.0.1");
        let seen = &proxy.get("/certs").json()["candidates"][0]["seen"];
        seen["nodes"] == serde_json::json!(["node1"])
    });
    let used = |proxy: &Proxy| proxy.metric("noded_proxy_certificate_used_by_another_node_total");
    assert_eq!(used(&proxy), 0.0);
    assert!(admitted_from(&proxy, &one, "127.0.0.2"));
    proxy.wait_for("it is counted", |proxy| used(proxy) == 1.0);
    assert!(admitted_from(&proxy, &one, "127.0.0.2"));
    assert_eq!(
        proxy.lines_with("certificate used by another node").len(),
        1,
        "told once"
    );
    let told = &proxy.status()["certificates_used_by_another_node"][0];
    assert_eq!(told["digest"], one.digest.as_str());
    assert_eq!(told["seen"]["nodes"], serde_json::json!(["node1", "node2"]));
}

#[test]
fn what_two_nodes_used_is_known_after_a_restart() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let mut proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    write_addresses(&proxy, "127.0.0.1\n127.0.0.2\n", NODES);
    let nodes = |proxy: &Proxy| {
        proxy.status()["certificates_used_by_another_node"][0]["seen"]["nodes"].clone()
    };
    let both = serde_json::json!(["node1", "node2"]);
    proxy.wait_for("two nodes use it", |proxy| {
        for from in ["127.0.0.1", "127.0.0.2"] {
            admitted_from(proxy, &one, from);
        }
        nodes(proxy) == both
    });
    let file = proxy.dir().join("state/sightings");
    proxy.wait_for("it is kept", |_| {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains(r#"["node1","node2"]"#))
    });
    reloaded(&proxy);
    proxy.wait_for("the next process knows it", |p| nodes(p) == both);
    proxy.restart(|_| ());
    assert_eq!(nodes(&proxy), both);
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    // A damaged one is told, is none, and is written anew.
    proxy.restart(|_| std::fs::write(&file, "\0not\nours").unwrap());
    let told = "sightings of earlier runs are left out, and the file is written anew";
    proxy.wait_for("it is told", |p| p.logged(told));
    assert_eq!(nodes(&proxy), serde_json::Value::Null);
    proxy.wait_for("it is written anew", |_| {
        text() == "noded-proxy sightings, version 1\n"
    });
    admitted_from(&proxy, &one, "127.0.0.1");
    proxy.wait_for("it is kept", |_| text().contains(one.digest.as_str()));
    proxy.write_map(&[("u2", &pki.client("node2"))]);
    proxy.wait_for("what has left the map is forgotten", |_| {
        !text().contains(one.digest.as_str())
    });
}
