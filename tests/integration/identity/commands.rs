//! `explain`, `certs list`, `reset`.

use std::process::{Command, Output};

use openssl::asn1::Asn1Type;

use super::clients::save;
use super::minted::{CLUSTER, Wish};
use crate::support::client::{Tls, admitted, refusal};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

/// Asks the files of this proxy, where the command can read them.
pub(super) fn run(proxy: &Proxy, arguments: &[&str]) -> (i32, String) {
    let path = |name: &str| proxy.dir().join(name).display().to_string();
    let files = [
        ("--server-pem", path("ganeti/server.pem")),
        ("--ssconf-dir", path("ganeti")),
    ];
    run_with(proxy, arguments, &files)
}

/// Asks the running proxy.
fn ask(proxy: &Proxy, arguments: &[&str]) -> (i32, String) {
    run_with(proxy, arguments, &[])
}

fn run_with(proxy: &Proxy, arguments: &[&str], files: &[(&str, String)]) -> (i32, String) {
    let path = |name: &str| proxy.dir().join(name).display().to_string();
    let place = [
        ("--config", path("config.toml")),
        ("--state-dir", path("state")),
        ("--admin", proxy.admin().to_string()),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    command.args(arguments);
    for (flag, value) in place.iter().chain(files) {
        command.args([*flag, value]);
    }
    text(&command.output().unwrap())
}

fn text(output: &Output) -> (i32, String) {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(all).unwrap(),
    )
}

#[track_caller]
pub(super) fn assert_says(found: &(i32, String), code: i32, words: &[&str]) {
    assert_eq!(found.0, code, "{}", found.1);
    for word in words {
        assert!(found.1.contains(word), "no {word:?} in\n{}", found.1);
    }
}

#[test]
fn explain_says_what_is_decided_why_and_what_to_do() {
    let pki = Pki::new();
    let (one, renewed, node) = (
        pki.client("node1"),
        pki.client("node1"),
        pki.client("node9"),
    );
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &one)]).start();
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("it is learned", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    let other_type = Wish {
        cn: "node8",
        issuer: Some(
            &Wish {
                cn: CLUSTER,
                string_type: Asn1Type::PRINTABLESTRING,
                ..Wish::default()
            }
            .mint(),
        ),
        ..Wish::default()
    }
    .mint();
    let foreign = Wish {
        cn: "elsewhere.example.org",
        ..Wish::default()
    }
    .mint();
    let table: [(&str, &Identity, i32, &[&str]); 6] = [
        (
            "one",
            &one,
            0,
            &[
                "ADMITTED as uuid-1",
                "1 candidates are listed",
                "strict client offers",
            ],
        ),
        (
            "renewed",
            &renewed,
            1,
            &[
                "REFUSED, unknown_digest",
                "uuid-1 has the same name",
                "renew-crypto",
            ],
        ),
        (
            "node",
            &node,
            1,
            &[
                "REFUSED, unknown_digest",
                "gnt-node modify --master-candidate=yes",
            ],
        ),
        (
            "server",
            pki.server(),
            1,
            &["REFUSED, unknown_digest", "shows server.pem"],
        ),
        (
            "other",
            &other_type,
            1,
            &["another string type", "not signed by this server.pem"],
        ),
        (
            "foreign",
            &foreign,
            1,
            &["has not the issuer", "another cluster or none"],
        ),
    ];
    for (name, identity, code, words) in table {
        let file = save(proxy.dir(), &format!("{name}.pem"), identity);
        let found = run(&proxy, &["explain", file.to_str().unwrap()]);
        assert_says(&found, code, words);
        assert_says(
            &found,
            code,
            &[&identity.digest, "ssconf_master_candidates_certs"],
        );
    }
    let file = save(proxy.dir(), "one.pem", &one);
    let from = ["explain", file.to_str().unwrap(), "--peer", "192.0.2.9"];
    assert_says(
        &run(&proxy, &from),
        0,
        &["not looked at (bind_peer = \"off\")"],
    );
    assert!(refusal(proxy.addr(), Some(&node), Tls::Any).is_some());
    let found = run(&proxy, &["explain", "--peer", "127.0.0.1"]);
    assert_says(
        &found,
        1,
        &[
            "unknown_digest",
            &node.digest,
            "CN=node9",
            "noded-proxy explain",
        ],
    );
    assert_says(
        &run(&proxy, &["explain", "--peer", "192.0.2.1"]),
        1,
        &["remembers no refusal"],
    );
    let left = std::fs::read_dir(proxy.dir().join("state/learned")).unwrap();
    assert_eq!(left.count(), 1, "explaining changes nothing");
}

#[test]
fn certs_list_shows_each_candidate_from_the_proxy_and_from_the_files() {
    let pki = Pki::new();
    let (one, two) = (pki.client("node1"), pki.client("node2"));
    let mut proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &one), ("uuid-2", &two)])
        .start();
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("it is learned", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 1.0
    });
    let known = [
        "uuid-1",
        "uuid-2",
        "CN=node1 (",
        "not known yet",
        "known from:  learned",
        "RSA 2048",
    ];
    let running = ask(&proxy, &["certs", "list"]);
    assert_says(&running, 1, &known);
    assert_says(
        &running,
        1,
        &["last seen:", "127.0.0.1", "incomplete", &one.digest],
    );
    assert_says(&run(&proxy, &["certs", "list", "--files"]), 1, &known);
    assert!(admitted(proxy.addr(), &two));
    proxy.wait_for("both are known", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    assert_says(
        &ask(&proxy, &["certs", "list"]),
        0,
        &["complete", "CN=node2 ("],
    );
    let json = ask(&proxy, &["certs", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.1).unwrap();
    assert_eq!(json["candidates"].as_array().unwrap().len(), 2);
    proxy.terminate();
    proxy.wait_exit();
    assert_says(&run(&proxy, &["certs", "list"]), 0, &["CN=node2 ("]);
    let (_, gone) = ask(&proxy, &["certs", "list"]);
    assert!(gone.contains("no proxy answers"), "{gone}");
}

#[test]
fn reset_forgets_the_latch_and_learned_certificates_but_not_under_a_running_proxy() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let mut proxy = Proxy::with(&pki).candidates(&[("uuid-1", &one)]).start();
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("it is learned", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    let state = proxy.dir().join("state");
    let reset = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
        command
            .arg("reset")
            .arg("--state-dir")
            .arg(&state)
            .args(more);
        text(&command.output().unwrap())
    };
    assert_says(&reset(&[]), 1, &["a proxy uses it"]);
    assert!(proxy.state_path().exists());
    std::fs::remove_file(proxy.map_path()).unwrap();
    proxy.restart(|_| ());
    assert!(
        !admitted(proxy.addr(), pki.server()),
        "the latch holds over a restart"
    );
    assert!(admitted(proxy.addr(), &one));
    proxy.restart(|proxy| {
        std::fs::write(proxy.dir().join("state/master"), "node1\n").unwrap();
        let said = reset(&[]);
        assert_says(
            &said,
            0,
            &[
                "forgot the last good candidate map",
                "bootstrap phase again",
                "forgot who is master",
            ],
        );
        assert!(!proxy.state_path().exists());
    });
    assert!(
        admitted(proxy.addr(), pki.server()),
        "bootstrap phase, as on a new node"
    );
    assert!(!admitted(proxy.addr(), &one));
}
