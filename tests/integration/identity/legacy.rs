//! Nodes that cannot be upgraded: TLS 1.0 and 1.1, 1024-bit keys, SHA-1 and MD5 signatures.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use noded_proxy::tls::mint::CertifiedKey;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::x509::X509;

use super::clients::{installed, save};
use super::minted::Wish;
use crate::support::pki::Identity;
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::wait_until;

/// The cluster's certificate and a node's, as Ganeti 2.1 made them.
fn old() -> (Identity, Identity) {
    let server = Wish {
        bits: 1024,
        digest: MessageDigest::sha1(),
        ..Wish::default()
    }
    .mint();
    let client = Wish {
        cn: "node1",
        bits: 1024,
        issuer: Some(&server),
        digest: MessageDigest::sha1(),
        ..Wish::default()
    }
    .mint();
    (server, client)
}

/// A self-signed certificate with an MD5 signature, which AWS-LC does not make.
fn md5_signed(dir: &Path) -> Identity {
    let (key, cert) = (dir.join("md5.key"), dir.join("md5.crt"));
    let output = Command::new("openssl")
        .args("req -x509 -newkey rsa:1024 -nodes -md5 -days 30 -subj /CN=node1".split(' '))
        .args([Path::new("-keyout"), &key, "-out".as_ref(), &cert])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |path| std::fs::read(path).unwrap();
    Identity::new(CertifiedKey {
        key: PKey::private_key_from_pem(&read(key)).unwrap(),
        certificate: X509::from_pem(&read(cert)).unwrap(),
    })
}

/// One handshake by OpenSSL's client with its own restrictions off; what it says.
fn s_client(address: SocketAddr, pem: &Path, version: &str) -> String {
    let output = Command::new("openssl")
        .args([
            "s_client",
            version,
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-connect",
        ])
        .arg(address.to_string())
        .args([Path::new("-cert"), pem, "-key".as_ref(), pem])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn old_nodes_are_served_with_tls_legacy_and_only_then() {
    if !installed("openssl") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let (server, sha1) = old();
    for (name, client) in [("SHA-1", sha1), ("MD5", md5_signed(files.path()))] {
        let pem = save(files.path(), "client.pem", &client);
        let start = |config: &str| {
            Proxy::with(&Pki::new())
                .server_pem(&server.pem)
                .candidates(&[("u1", &client)])
                .config(config)
                .start()
        };
        let legacy = start("tls.legacy = true");
        assert_eq!(legacy.metric("noded_proxy_tls_legacy"), 1.0);
        for version in ["-tls1", "-tls1_1", "-tls1_2"] {
            let before = legacy.metric("noded_proxy_connections_total{result=\"no_request\"}");
            let said = s_client(legacy.addr(), &pem, version);
            let admitted = || legacy.metric("noded_proxy_connections_total{result=\"no_request\"}");
            wait_until(&format!("{name} {version} is admitted:\n{said}"), || {
                admitted() == before + 1.0
            });
        }
    }
}

#[test]
fn old_versions_are_refused_without_tls_legacy() {
    if !installed("openssl") {
        return;
    }
    let pki = Pki::new();
    let client = pki.client("node1");
    let files = tempfile::tempdir().unwrap();
    let pem = save(files.path(), "client.pem", &client);
    let proxy = Proxy::with(&pki).candidates(&[("u1", &client)]).start();
    for version in ["-tls1", "-tls1_1"] {
        let said = s_client(proxy.addr(), &pem, version);
        assert!(said.contains("alert protocol version"), "{version}: {said}");
    }
    assert_eq!(
        proxy.metric("noded_proxy_connections_total{result=\"admitted\"}"),
        0.0
    );
    assert_eq!(proxy.metric("noded_proxy_tls_legacy"), 0.0);
}
