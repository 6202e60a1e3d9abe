//! The RPC policy at the door: what is refused, and in which words.

use crate::support::client::{Tls, connect, read_response, request, rpc, send};
use crate::support::handing::main_pid;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Builder, Proxy, replace};
use crate::support::stub::StubNoded;
use crate::support::wait_until;

/// The shipped example, and what is added to it.
fn strict(more: &str) -> String {
    include_str!("../../config/policy-strict.toml").replace("audit = false", more)
}

fn proxy(pki: &Pki, nodes: &[Identity; 2], policy: &str) -> Proxy {
    proxy_with(pki, nodes, policy, |proxy| proxy)
}

fn proxy_with(
    pki: &Pki,
    nodes: &[Identity; 2],
    policy: &str,
    more: impl FnOnce(Builder) -> Builder,
) -> Proxy {
    let proxy = Proxy::with(pki)
        .candidates(&[("uuid-1", &nodes[0]), ("uuid-2", &nodes[1])])
        .config(policy);
    let proxy = more(proxy).start();
    // Both call from here; whose certificate it is tells them apart.
    let addresses = "node1.example.com 127.0.0.1\nnode2.example.com 127.0.0.1\n";
    ssconf(&proxy, "node_primary_ips", addresses);
    ssconf(&proxy, "master_node", "node1.example.com\n");
    proxy.sighup();
    master_is(&proxy, "node1.example.com");
    proxy
}

fn both(pki: &Pki) -> [Identity; 2] {
    ["node1.example.com", "node2.example.com"].map(|name| pki.client(name))
}

fn ssconf(proxy: &Proxy, key: &str, text: &str) {
    let file = proxy.dir().join(format!("ganeti/ssconf_{key}"));
    replace(&file, text.as_bytes(), 0o644); // as Ganeti does
}

fn master_is(proxy: &Proxy, name: &str) {
    proxy.wait_for("the new master is known", |p| {
        p.status()["admission"]["master"] == name
    });
}

/// HTTP status and words of the answer. Nothing listens upstream: 502 is what passed.
fn call(proxy: &Proxy, node: &Identity, procedure: &str) -> (u16, String) {
    call_with(proxy, node, procedure, "[]")
}

fn call_with(proxy: &Proxy, node: &Identity, procedure: &str, body: &str) -> (u16, String) {
    let answer = rpc(proxy.addr(), node, procedure, body).unwrap();
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
    let nodes = both(&pki);
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
    for (node, procedure) in [(0, "instance_start"), (1, "version")] {
        assert_eq!(call(&proxy, &nodes[node], procedure).0, 502, "{procedure}");
    }
}

/// Every procedure that we know, asked by a candidate that is not the master, under the shipped
/// policy.
#[test]
fn each_procedure_is_decided_as_its_effect_says() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &strict(""));
    let mut refused = 0;
    for procedure in rules::procedures::TABLE {
        let reads = procedure.effect == rules::procedures::Effect::ReadOnly;
        let (status, words) = call(&proxy, &nodes[1], procedure.name);
        let expected = if reads { 502 } else { 403 };
        assert_eq!(status, expected, "{procedure:?}: {words}");
        if !reads {
            refused += 1;
            assert!(words.contains(" forbids "), "{words}");
        }
    }
    assert_eq!(forbidden(&proxy, "deny", "refused"), 1.0);
    let counted = forbidden(&proxy, "allow_from_master_only", "refused");
    assert_eq!(counted, f64::from(refused) - 1.0);
    for (procedure, body) in HARMLESS {
        let (status, words) = call_with(&proxy, &nodes[1], procedure, body);
        assert_eq!(status, 502, "{procedure} {body}: {words}");
    }
}

/// Calls with which a dangerous procedure only reads.
const HARMLESS: [(&str, &str); 5] = [
    (
        "node_info",
        r#"[[["lvm-vg", "xenvg", [false]]], [["kvm", {}], ["fake", null]]]"#,
    ),
    (
        "node_verify",
        r#"[{"version": null, "time": null}, "c", {}]"#,
    ),
    (
        "node_verify_light",
        r#"[{"lvlist": null}, "c", {"kvm": {}}]"#,
    ),
    ("lv_list", r#"[["xenvg"]]"#),
    ("storage_list", r#"["lvm-vg", [], null, ["name", "size"]]"#),
];

/// What noded could read otherwise than we do is refused, and so is what we cannot see whole.
#[test]
fn arguments_that_cannot_be_judged_are_refused_with_the_reason() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &strict(""));
    let padded = |arguments: &str, by| format!("{}{arguments}", " ".repeat(by));
    let long = padded("[[], []]", 4 << 20);
    let on_disk = padded(r#"[[], [["kvm", {"kvm_path": "/x"}]]]"#, 2 << 20);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (body, reason) in [
        (
            r#"[[], [["kvm", {"kvm_path": "/x"}]]]"#,
            "with these arguments",
        ),
        (r#"[[], [["kvm", {}]], "one more"]"#, "with these arguments"),
        (r#"[[], [["kvm", {}]]"#, "could not be judged: EOF"),
        (
            r#"[[], [["kvm", {"a": NaN}]]]"#,
            "could not be judged: expected value",
        ),
        (
            r#"[[], [["kvm", {"xen_cmd": "/x", "xen_cmd": "xl"}]]]"#,
            "a key is there twice",
        ),
        (&*deep, "nested deeper than 32"),
        (&*on_disk, "with these arguments"),
        (&*long, "more than 4194304 bytes"),
    ] {
        let (status, words) = call_with(&proxy, &nodes[1], "node_info", body);
        assert_eq!(status, 403, "{words}");
        assert!(
            words.contains(reason) && words.contains("noded-proxy on "),
            "{words}"
        );
        // The master is not asked for its arguments.
        assert_eq!(call_with(&proxy, &nodes[0], "node_info", body).0, 502);
    }
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "refused"), 8.0);
    let harmless = padded(r#"[[], [["kvm", {}]]]"#, 2 << 20);
    assert_eq!(call_with(&proxy, &nodes[1], "node_info", &harmless).0, 502);
}

/// A file that a candidate can write makes nobody master; what only the master can write does.
#[test]
fn a_new_master_has_the_rights_of_one_if_the_old_one_announced_it() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let mut proxy = proxy(&pki, &nodes, &strict(""));
    let may = |proxy: &Proxy| [0, 1].map(|node| call(proxy, &nodes[node], "run_oob").0 == 502);
    assert_eq!(may(&proxy), [true, false]);
    ssconf(&proxy, "master_node", "node2.example.com\n");
    proxy.wait_for("it is doubted", |p| {
        p.status()
            .to_string()
            .contains("which node1.example.com did not announce")
    });
    assert_eq!(may(&proxy), [true, false]);
    // Not even after a restart.
    proxy.restart(|_| ());
    assert_eq!(may(&proxy), [true, false]);
    ssconf(&proxy, "master_node", "node1.example.com\n");
    ssconf(
        &proxy,
        "cluster_tags",
        "noded-proxy:successor:node2.example.com\n",
    );
    proxy.sighup();
    proxy.wait_for("the successor has its rights", |p| may(p) == [true, true]);
    ssconf(&proxy, "master_node", "node2.example.com\n");
    master_is(&proxy, "node2.example.com");
    assert_eq!(may(&proxy), [false, true]);
}

/// A backup that is restored, a renewal by hand.
#[test]
fn a_server_pem_that_is_away_for_a_while_gives_the_seat_to_nobody_else() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &strict(""));
    assert_eq!(call(&proxy, &nodes[0], "run_oob").0, 502);
    ssconf(&proxy, "master_node", "node2.example.com\n");
    let away = proxy.dir().join("away");
    std::fs::rename(proxy.server_pem_path(), &away).unwrap();
    proxy.wait_for("it is seen", |p| p.metric("noded_proxy_ready") == 0.0);
    std::fs::rename(&away, proxy.server_pem_path()).unwrap();
    proxy.wait_for("it is back", |p| p.metric("noded_proxy_ready") == 1.0);
    let may = [0, 1].map(|node| call(&proxy, &nodes[node], "run_oob").0 == 502);
    assert_eq!(may, [true, false]);
}

/// Nobody knows then whether it is the same one that comes back.
#[test]
fn a_damaged_latch_gives_the_seat_to_nobody_else_either() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let mut proxy = proxy(&pki, &nodes, &strict(""));
    assert_eq!(call(&proxy, &nodes[0], "run_oob").0, 502);
    ssconf(&proxy, "master_node", "node2.example.com\n");
    let (kept, away) = (proxy.dir().join("state"), proxy.dir().join("away"));
    std::fs::rename(proxy.server_pem_path(), &away).unwrap();
    proxy.wait_for("the map is dropped", |_| {
        !kept.join("last-good-map").exists()
    });
    proxy.restart(|_| std::fs::write(kept.join("latch"), "damaged").unwrap());
    proxy.wait_for("it is seen", |p| p.metric("noded_proxy_ready") == 0.0);
    std::fs::rename(&away, proxy.server_pem_path()).unwrap();
    proxy.wait_for("it is back", |p| p.metric("noded_proxy_ready") == 1.0);
    let may = [0, 1].map(|node| call(&proxy, &nodes[node], "run_oob").0 == 502);
    assert_eq!(may, [true, false]);
}

/// The old master is dead: root says so on each node.
#[test]
fn an_administrator_can_name_the_new_master() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &strict(""));
    std::fs::write(proxy.dir().join("state/master"), "node2.example.com\n").unwrap();
    proxy.sighup();
    master_is(&proxy, "node2.example.com");
    assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 502);
    assert_eq!(call(&proxy, &nodes[0], "instance_start").0, 403);
}

/// Whoever has server.pem can sign a certificate with the master's name, and any candidate's digest
/// is in the map.
#[test]
fn a_certificate_with_the_master_s_name_is_not_the_master_s() {
    let pki = Pki::new();
    let nodes = [
        pki.client("node1.example.com"),
        pki.client("node1.example.com"),
    ];
    let proxy = proxy(&pki, &nodes, &strict(""));
    // The master calls first, and its certificate is known from then on.
    assert_eq!(call(&proxy, &nodes[0], "instance_start").0, 502);
    proxy.wait_for("its key is kept", |p| {
        let kept = std::fs::read_to_string(p.dir().join("state/master"));
        kept.is_ok_and(|text| text == "node1.example.com uuid-1\n")
    });
    // What is kept is in force a moment later.
    proxy.wait_for("it counts", |p| {
        call(p, &nodes[1], "instance_start").0 == 403
    });
    let (status, words) = call(&proxy, &nodes[1], "instance_start");
    assert_eq!(status, 403);
    assert!(
        words.contains("not the one under which the master is known"),
        "{words}"
    );
    assert_eq!(call(&proxy, &nodes[0], "instance_start").0, 502);
    // The master's name, from another address.
    ssconf(&proxy, "node_primary_ips", "node1.example.com 192.0.2.1\n");
    proxy.sighup();
    proxy.wait_for("the address counts", |_| {
        let (_, words) = call(&proxy, &nodes[0], "instance_start");
        words.contains("does not call from the master's address")
    });
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
    assert_eq!(call(&proxy, &nodes[0], "vg_list").0, 502);
}

#[test]
fn an_exception_that_makes_the_rules_worthless_is_told() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let hole = strict("").replace("\"dangerous\"]", "\"dangerous\", \"!write_ssconf_files\"]");
    let proxy = proxy(&pki, &nodes, &hole);
    assert!(proxy.logged("policy: with this exception a candidate can make itself master"));
}

#[test]
fn a_reload_moves_no_seat_though_the_state_directory_is_gone() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &format!("sandbox = 'off'\n{}", strict("")));
    let state = proxy.dir().join("state");
    // The proxy may be at work there.
    wait_until("it is gone", || std::fs::remove_dir_all(&state).is_ok());
    ssconf(&proxy, "master_node", "node2.example.com\n");
    for _ in 0..2 {
        let before = main_pid(&proxy);
        proxy.sighup();
        assert_ne!(main_pid(&proxy), before);
        assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 403);
        assert_eq!(call(&proxy, &nodes[0], "instance_start").0, 502);
    }
    std::fs::create_dir(&state).unwrap();
    let kept = || std::fs::read_to_string(state.join("master")).unwrap_or_default();
    proxy.wait_for("the seat is kept", |_| {
        kept().starts_with("node1.example.com")
    });
}

#[test]
fn audit_forwards_and_counts() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let proxy = proxy(&pki, &nodes, &strict("audit = true"));
    assert_eq!(call(&proxy, &nodes[1], "instance_start").0, 502);
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "audit"), 1.0);
    assert_eq!(forbidden(&proxy, "allow_from_master_only", "refused"), 0.0);
    assert!(proxy.logged("policy.audit: forwarded all the same"));
}

/// The role that counts is that of the moment in which noded would get the call.
#[test]
fn a_master_that_is_replaced_while_its_call_waits_is_refused() {
    let pki = Pki::new();
    let nodes = both(&pki);
    let stub = StubNoded::holding();
    let one_slot = "[upstream]\nmax_clients = 1\nfast_slots = 0\nwarm = 'off'";
    let proxy = proxy_with(&pki, &nodes, &strict(""), |proxy| {
        proxy.upstream(stub.address()).config(one_slot)
    });
    let mut running = connect(proxy.addr(), Some(&nodes[0]), Tls::Any).unwrap();
    send(&mut running, request("version", "[]"));
    stub.wait_holding(1);
    let mut waiting = connect(proxy.addr(), Some(&nodes[0]), Tls::Any).unwrap();
    send(&mut waiting, request("powercycle_node", "[]"));
    proxy.wait_for("it waits", |p| p.metric("noded_proxy_queue_length") == 1.0);
    std::fs::write(proxy.dir().join("state/master"), "node2.example.com\n").unwrap();
    proxy.sighup();
    master_is(&proxy, "node2.example.com");
    stub.release_all();
    assert_eq!(read_response(&mut running).status, 200);
    assert_eq!(read_response(&mut waiting).status, 403);
    assert_eq!(stub.procedures(), ["version"]);
}
