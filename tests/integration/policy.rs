//! The RPC policy at the door: what is refused, and in which words.

use crate::support::client::rpc;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

/// The shipped example, and what is added to it.
fn strict(more: &str) -> String {
    include_str!("../../config/policy-strict.toml").replace("audit = false", more)
}

fn proxy(pki: &Pki, nodes: &[Identity; 2], policy: &str) -> Proxy {
    let proxy = Proxy::with(pki)
        .candidates(&[("uuid-1", &nodes[0]), ("uuid-2", &nodes[1])])
        .config(policy)
        .start();
    master_is(&proxy, "node1.example.com");
    proxy
}

fn master_is(proxy: &Proxy, name: &str) {
    let file = proxy.dir().join("ganeti/ssconf_master_node");
    std::fs::write(file, format!("{name}\n")).unwrap();
    proxy.sighup();
    proxy.wait_for("the new master is known", |p| {
        p.status()["admission"]["master"] == name
    });
}

/// HTTP status and words of the answer. Nothing listens upstream: 502 is what passed.
fn call(proxy: &Proxy, node: &Identity, procedure: &str) -> (u16, String) {
    let answer = rpc(proxy.addr(), node, procedure, "[]").unwrap();
    (answer.status, answer.text())
}

fn forbidden(proxy: &Proxy, list: &str, outcome: &str) -> f64 {
    proxy.metric(&format!(
        "noded_proxy_policy_forbidden_total{{list=\"{list}\",outcome=\"{outcome}\"}}"
    ))
}

#[test]
fn what_a_rule_forbids_is_refused_with_the_rule_s_name() {
    let pki = Pki::new();
    let nodes = [
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    ];
    let proxy = proxy(&pki, &nodes, &strict(""));
    let (status, words) = call(&proxy, &nodes[0], "restricted_command");
    assert_eq!(status, 403);
    assert!(
        words.contains(r#"policy.deny = \"restricted_command\""#),
        "{words}"
    );
    let (status, words) = call(&proxy, &nodes[1], "instance_start");
    assert_eq!(status, 403);
    assert!(
        words.contains(r#"policy.allow_from_master_only = \"dangerous\" forbids instance_start"#),
        "{words}"
    );
    assert_eq!(forbidden(&proxy, "deny", "refused"), 1.0);
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "refused"), 1.0);
    for (node, procedure) in [
        (0, "instance_start"),
        (1, "version"),
        (1, "write_ssconf_files"),
    ] {
        assert_eq!(call(&proxy, &nodes[node], procedure).0, 502, "{procedure}");
    }
}

#[test]
fn a_new_master_has_the_rights_of_one_as_soon_as_ssconf_names_it() {
    let pki = Pki::new();
    let nodes = [
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    ];
    let proxy = proxy(&pki, &nodes, &strict(""));
    assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 403);
    master_is(&proxy, "node2.example.com");
    assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 502);
    assert_eq!(call(&proxy, &nodes[0], "instance_start").0, 403);
}

#[test]
fn a_self_signed_certificate_names_no_master_and_is_told_so() {
    let pki = Pki::new();
    let nodes = [
        pki.self_signed("ganeti.example.com"),
        pki.client("node2.example.com"),
    ];
    let proxy = proxy(&pki, &nodes, &strict(""));
    let (status, words) = call(&proxy, &nodes[0], "instance_start");
    assert_eq!(status, 403);
    assert!(
        words.contains("renew-crypto --new-node-certificates"),
        "{words}"
    );
    assert_eq!(call(&proxy, &nodes[0], "node_info").0, 502);
}

#[test]
fn audit_forwards_and_counts() {
    let pki = Pki::new();
    let nodes = [
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    ];
    let proxy = proxy(&pki, &nodes, &strict("audit = true"));
    assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 502);
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "audit"), 1.0);
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "refused"), 0.0);
    assert!(proxy.logged("policy.audit: forwarded all the same"));
}
