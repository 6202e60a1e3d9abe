//! Certificates become known by their holders' first calls, are kept, and leave with their digest.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::clients::{VERSIONS, received};
use super::minted::names;
use crate::support::client::{Tls, alert};
use crate::support::client::{admitted, refusal};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

fn learned(proxy: &Proxy) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(proxy.dir().join("state/learned")) else {
        return BTreeSet::new();
    };
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

fn file(identity: &Identity) -> String {
    format!("{}.pem", identity.digest)
}

fn sent(proxy: &Proxy) -> BTreeSet<Vec<u8>> {
    received(proxy.addr(), VERSIONS[1]).into_iter().collect()
}

#[test]
fn the_list_is_complete_after_each_candidates_first_call_and_over_a_restart() {
    let pki = Pki::new();
    let (one, two) = (pki.client("node1"), pki.self_signed("node2"));
    let mut proxy = Proxy::with(&pki)
        .candidates(&[("u1", &one), ("u2", &two)])
        .start();
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("one is learned", |proxy| {
        learned(proxy) == [file(&one)].into()
    });
    assert_eq!(sent(&proxy), BTreeSet::new(), "two is missing");
    assert!(admitted(proxy.addr(), &two));
    let all = names([pki.server(), &one, &two]);
    proxy.wait_for("the list is complete", |proxy| sent(proxy) == all);
    assert_eq!(learned(&proxy), [file(&one), file(&two)].into());
    let pem = std::fs::read_to_string(proxy.dir().join("state/learned").join(file(&two))).unwrap();
    assert_eq!(pem, two.cert_pem, "the certificate and no key");
    proxy.restart(|_| ());
    assert_eq!(sent(&proxy), all, "from the first handshake on");
    proxy.write_map(&[("u1", &one)]);
    proxy.wait_for("two has left", |proxy| {
        learned(proxy) == [file(&one)].into()
    });
    assert_eq!(sent(&proxy), names([pki.server(), &one]));
}

#[test]
fn only_candidates_who_proved_possession_are_learned() {
    let pki = Pki::new();
    let (one, node) = (pki.client_ec("node1"), pki.client("node9"));
    let thief = one.with_key_behind(&pki.client_ec("thief"));
    let proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    for tls in Tls::BOTH {
        let stolen = refusal(proxy.addr(), Some(&thief), tls).unwrap();
        assert_eq!(stolen.alert, Some(alert::DECRYPT_ERROR));
        assert!(refusal(proxy.addr(), Some(&node), tls).is_some());
        assert!(refusal(proxy.addr(), Some(pki.server()), tls).is_some());
    }
    assert_eq!(proxy.metric("noded_proxy_unknown_certificates"), 1.0);
    assert_eq!(learned(&proxy), BTreeSet::new());
}

#[test]
fn a_certificate_is_handed_over_once() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    for _ in 0..20 {
        assert!(admitted(proxy.addr(), &one));
    }
    proxy.wait_for("it is learned", |proxy| {
        learned(proxy) == [file(&one)].into()
    });
    assert_eq!(proxy.lines_with("certificate learned").len(), 1);
}

#[test]
fn a_state_directory_that_cannot_be_written_only_costs_the_memory_of_it() {
    let pki = Pki::new();
    let one = pki.client("node1");
    let mut proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    proxy.restart(|proxy| {
        let state = proxy.dir().join("state");
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::write(&state, "not a directory").unwrap();
    });
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("it is known all the same", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
    assert!(admitted(proxy.addr(), &one));
}

#[test]
fn a_learned_file_that_was_tampered_with_is_ignored() {
    let pki = Pki::new();
    let (one, other) = (pki.client("node1"), pki.client("node2"));
    let mut proxy = Proxy::with(&pki).candidates(&[("u1", &one)]).start();
    assert!(admitted(proxy.addr(), &one));
    proxy.wait_for("it is learned", |proxy| {
        learned(proxy) == [file(&one)].into()
    });
    proxy.restart(|proxy| {
        let path = proxy.dir().join("state/learned").join(file(&one));
        std::fs::write(path, &other.cert_pem).unwrap();
    });
    assert_eq!(proxy.metric("noded_proxy_unknown_certificates"), 1.0);
    assert!(refusal(proxy.addr(), Some(&other), Tls::Any).is_some());
    assert!(admitted(proxy.addr(), &one), "and it is learned again");
    proxy.wait_for("it is learned again", |proxy| {
        proxy.metric("noded_proxy_unknown_certificates") == 0.0
    });
}
