//! What clients receive as client CA list, byte for byte, and that they then offer their
//! certificate.

use std::collections::BTreeSet;

use openssl::asn1::Asn1Type;

use super::clients::{VERSIONS, gnutls, installed, pycurl, received, save, wget};
use super::minted::{CLUSTER, TYPES, Wish, names};
use crate::support::client::rpc;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::{Builder, Proxy};
use crate::support::stub::StubNoded;

/// `server.pem` in one string type, and a candidate for each string type, signed and not, version 1
/// and 3.
fn everybody() -> (Identity, Vec<(String, Identity)>) {
    let server = Wish {
        string_type: Asn1Type::PRINTABLESTRING,
        ..Wish::default()
    }
    .mint();
    let mut all = Vec::new();
    for (type_name, string_type) in TYPES {
        for version in [1, 3] {
            for (kind, issuer) in [("signed", Some(&server)), ("self-signed", None)] {
                let cn = match issuer {
                    Some(_) => format!("node{}.example.com", all.len()),
                    None => CLUSTER.into(),
                };
                let identity = Wish {
                    cn: &cn,
                    string_type,
                    issuer,
                    version,
                    ..Wish::default()
                }
                .mint();
                all.push((format!("{type_name}-v{version}-{kind}"), identity));
            }
        }
    }
    (server, all)
}

fn proxy(server: &Identity, all: &[(String, Identity)]) -> Builder {
    let map: Vec<(&str, &Identity)> = all.iter().map(|(name, i)| (&**name, i)).collect();
    Proxy::with(&Pki::new())
        .server_pem(&server.pem)
        .candidates(&map)
}

#[test]
fn every_client_of_every_kind_of_certificate_gets_the_list_byte_for_byte_and_is_admitted() {
    if !["gnutls-cli", "wget", "openssl"].into_iter().all(installed) {
        return;
    }
    let (server, all) = everybody();
    let (stub, files) = (StubNoded::usual(), tempfile::tempdir().unwrap());
    // The files have the private keys too, which are not wanted and do no harm.
    let pems: Vec<_> = all
        .iter()
        .map(|(name, identity)| save(files.path(), &format!("{name}.pem"), identity))
        .collect();
    let directory = files.path().display().to_string();
    let proxy = proxy(&server, &all)
        .upstream(stub.address())
        .arg("--candidate-certs")
        .arg(&directory)
        .start();
    let address = proxy.addr();
    let expected = names(all.iter().map(|(_, i)| i).chain([&server]));
    assert_eq!(
        expected.len(),
        15,
        "five types of the cluster's name, ten nodes"
    );
    for version in VERSIONS {
        let list = received(address, version);
        let sent: BTreeSet<Vec<u8>> = list.iter().cloned().collect();
        assert_eq!(
            (list.len(), &sent),
            (expected.len(), &expected),
            "{version:?}"
        );
        for ((name, _), pem) in all.iter().zip(&pems) {
            let strict = wget(address, pem, version);
            assert_eq!(
                strict.as_deref(),
                Ok("[true, \"version\"]"),
                "wget {name} {version:?}"
            );
            let answer = gnutls(address, pem, version);
            assert!(answer.is_ok(), "gnutls-cli {name} {version:?}: {answer:?}");
        }
    }
    let answers = pycurl(address, &pems);
    assert_eq!(answers, vec!["200"; 2 * all.len()], "pycurl");
    for (name, identity) in &all {
        let answer = rpc(address, identity, "version", "[]").unwrap();
        assert_eq!(answer.status, 200, "OpenSSL {name}");
    }
    let known = proxy.metric("noded_proxy_known_certificates{source=\"directory\"}");
    assert_eq!(known, all.len() as f64);
}

#[test]
fn the_list_is_empty_while_a_certificate_is_not_known_unless_partial_is_asked_for() {
    let (server, all) = everybody();
    let files = tempfile::tempdir().unwrap();
    let bundle: String = all[1..].iter().map(|(_, i)| i.pem.clone()).collect();
    let bundle_path = files.path().join("bundle.pem");
    std::fs::write(&bundle_path, bundle).unwrap();
    let bundle_path = bundle_path.display().to_string();
    for (policy, expected) in [
        ("empty", BTreeSet::new()),
        (
            "partial",
            names(all[1..].iter().map(|(_, i)| i).chain([&server])),
        ),
    ] {
        let proxy = proxy(&server, &all)
            .arg("--candidate-bundle")
            .arg(&bundle_path)
            .config(&format!("client_ca_list.when_incomplete = '{policy}'"))
            .start();
        for version in VERSIONS {
            let sent: BTreeSet<_> = received(proxy.addr(), version).into_iter().collect();
            assert_eq!(sent, expected, "{policy} {version:?}");
        }
        assert_eq!(proxy.metric("noded_proxy_unknown_certificates"), 1.0);
        assert_eq!(
            proxy.metric("noded_proxy_client_ca_list_names"),
            expected.len() as f64
        );
    }
}

#[test]
fn in_the_bootstrap_phase_the_list_is_that_of_server_pem() {
    let (server, _) = everybody();
    let proxy = proxy(&server, &[]).map_text("").start();
    for version in VERSIONS {
        let sent: BTreeSet<_> = received(proxy.addr(), version).into_iter().collect();
        assert_eq!(sent, names([&server]));
    }
}

#[test]
fn a_file_that_comes_or_goes_changes_the_list_of_the_next_handshake() {
    let (server, all) = everybody();
    let one = &all[1..2]; // self-signed, in the other string type
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().display().to_string();
    let proxy = proxy(&server, one)
        .arg("--candidate-certs")
        .arg(&directory)
        .start();
    let sent = || -> BTreeSet<_> { received(proxy.addr(), VERSIONS[1]).into_iter().collect() };
    assert_eq!(sent(), BTreeSet::new());
    let pem = save(files.path(), "one.pem", &one[0].1);
    proxy.wait_for("the new certificate is in the list", |_| {
        sent() == names([&server, &one[0].1])
    });
    std::fs::write(&pem, "not a certificate").unwrap();
    proxy.wait_for("a broken file is a reason to look", |proxy| {
        proxy.health().1["reasons"].to_string().contains("one.pem")
    });
    assert_eq!(sent(), BTreeSet::new());
    std::fs::remove_file(&pem).unwrap();
    proxy.wait_for("all is well again", |proxy| {
        proxy.health().1["degraded"] == false
    });
}
