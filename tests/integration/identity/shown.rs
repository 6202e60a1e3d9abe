//! What clients are shown: the ECDSA certificate that `server.pem` has signed, or `server.pem`.

use std::path::Path;
use std::process::{Command, Stdio};

use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::SslVerifyMode;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};

use super::clients::{VERSIONS, installed, save};
use super::minted::Wish;
use crate::support::client::{Tls, connect_with};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

/// What a client is shown that trusts `server.pem` alone, and checks it.
fn shown(proxy: &Proxy, client: &Identity, server: &Identity, tls: Tls) -> X509 {
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(server.cert.clone()).unwrap();
    let stream = connect_with(proxy.addr(), Some(client), tls, |context| {
        context.set_verify(SslVerifyMode::PEER);
        context.set_cert_store(store.build());
    })
    .unwrap();
    assert_eq!(stream.ssl().verify_result(), X509VerifyResult::OK);
    stream.ssl().peer_certificate().unwrap()
}

#[test]
fn clients_are_shown_a_certificate_that_server_pem_has_signed() {
    let pki = Pki::new();
    let (client, server) = (pki.client("node1"), pki.server());
    let proxy = Proxy::with(&pki).candidates(&[("u1", &client)]).start();
    assert_eq!(proxy.status()["server_pem"]["shown_to_clients"], "ecdsa");
    let leaf = shown(&proxy, &client, server, Tls::V13);
    assert_eq!(leaf.public_key().unwrap().id(), Id::EC);
    assert!(leaf.verify(&server.key).unwrap());
    for (its, servers) in [
        (leaf.not_before(), server.cert.not_before()),
        (leaf.not_after(), server.cert.not_after()),
    ] {
        assert_eq!(its.to_string(), servers.to_string());
    }
    let text = String::from_utf8(leaf.to_text().unwrap()).unwrap();
    for line in [
        "CA:FALSE",
        "Digital Signature\n",
        "TLS Web Server Authentication\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let other = shown(&proxy, &client, server, Tls::V12);
    assert!(
        other.to_der().unwrap() == leaf.to_der().unwrap(),
        "one for all"
    );

    // A new server.pem, a new certificate.
    let renewed = pki.renewed_server(365);
    std::fs::write(proxy.server_pem_path(), &renewed.pem).unwrap();
    proxy.wait_for("the new server.pem", |proxy| {
        proxy.status()["server_pem"]["digest"] == renewed.digest.as_str()
    });
    let new = shown(&proxy, &client, &renewed, Tls::V13);
    assert!(new.verify(&renewed.key).unwrap());
    let public = |certificate: &X509| certificate.public_key().unwrap();
    assert!(!public(&new).public_eq(&public(&leaf)), "a new key, too");
}

#[test]
fn server_pem_is_shown_where_it_cannot_sign_or_is_wished_for() {
    let pki = Pki::new();
    let client = pki.client("node1");
    let version_3 = Wish {
        version: 3,
        ..Wish::default()
    };
    let version_3 = version_3.mint();
    let signed = Wish {
        cn: "proxy.example.com",
        issuer: Some(pki.server()),
        ..Wish::default()
    };
    let signed = signed.mint();
    let with_chain = signed.pem.clone() + &pki.server().cert_pem;
    let chain = pki.server_pem() + &signed.cert_pem;
    let table = [
        (
            "wished for",
            pki.server_pem(),
            "tls.certificate = 'server-pem'",
            None,
        ),
        ("version 3", version_3.pem.clone(), "", Some("X.509 v3")),
        ("not self-signed", with_chain, "", Some("not self-signed")),
        ("a chain", chain, "", Some("a chain of 1 certificates")),
        (
            "ECDSA itself",
            pki.client_ec("ec").pem,
            "",
            Some("not an RSA certificate"),
        ),
    ];
    for (what, pem, config, why) in table {
        let proxy = Proxy::with(&pki)
            .candidates(&[("u1", &client)])
            .server_pem(&pem)
            .config(config)
            .start();
        let shown = connect_with(proxy.addr(), Some(&client), Tls::V13, |_| {}).unwrap();
        let shown = shown.ssl().peer_certificate().unwrap();
        let server = X509::stack_from_pem(pem.as_bytes()).unwrap().remove(0);
        assert_eq!(shown.to_der().unwrap(), server.to_der().unwrap(), "{what}");
        assert_eq!(
            proxy.status()["server_pem"]["shown_to_clients"],
            "server-pem"
        );
        let lines =
            proxy.lines_with("clients are shown server.pem, not an ECDSA certificate signed by it");
        let told = lines.iter().filter_map(|line| line["why"].as_str());
        assert_eq!(
            told.count(),
            usize::from(why.is_some()),
            "{what}: {lines:?}"
        );
        if let Some(why) = why {
            assert!(
                lines[0]["why"].as_str().unwrap().contains(why),
                "{what}: {lines:?}"
            );
        }
    }
}

/// What a program says that is to check the certificate it is shown; it must be content.
fn verifies(program: &str, arguments: &[&str], files: &[(&str, &Path)]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    for (flag, file) in files {
        command.arg(flag).arg(file);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn openssl_and_gnutls_trust_server_pem_alone_and_so_take_it() {
    if !installed("openssl") || !installed("gnutls-cli") {
        return;
    }
    let pki = Pki::new();
    let (client, server) = (pki.client("node1"), pki.server());
    let proxy = Proxy::with(&pki).candidates(&[("u1", &client)]).start();
    let leaf = shown(&proxy, &client, server, Tls::Any);
    let mut names = leaf.subject_name().entries_by_nid(Nid::COMMONNAME);
    let name = names.next().unwrap().data().to_string().unwrap();
    let pem = save(proxy.dir(), "client.pem", &client);
    let ca = proxy.dir().join("ca.pem");
    std::fs::write(&ca, &server.cert_pem).unwrap();
    let address = proxy.addr().to_string();
    let port = proxy.addr().port().to_string();
    for version in VERSIONS {
        let arguments = [
            "s_client",
            version.s_client,
            "-verify_return_error",
            "-connect",
            &address,
        ];
        let files = [("-CAfile", &*ca), ("-cert", &*pem), ("-key", &*pem)];
        let said = verifies("openssl", &arguments, &files);
        assert!(said.contains("Peer signature type: ECDSA"), "{said}");
        // A client whose groups the certificate's curve is not among: up to TLS 1.2 they bind
        // certificates, too.
        let other_groups = ["-groups", "X25519"];
        let said = verifies("openssl", &[&arguments[..], &other_groups].concat(), &files);
        assert_eq!(
            said.contains(&server.cert_pem),
            version.s_client == "-tls1_2"
        );
        let rsa_alone = ["-sigalgs", "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"];
        let said = verifies("openssl", &[&arguments[..], &rsa_alone].concat(), &files);
        assert!(
            said.contains(&server.cert_pem),
            "a client that takes no ECDSA: {said}"
        );
        let hostname = format!("--verify-hostname={name}");
        let arguments = [
            "--priority",
            version.gnutls,
            &hostname,
            "--port",
            &port,
            "127.0.0.1",
        ];
        let files = [
            ("--x509cafile", &*ca),
            ("--x509certfile", &*pem),
            ("--x509keyfile", &*pem),
        ];
        let said = verifies("gnutls-cli", &arguments, &files);
        assert!(
            said.contains("ECDSA") && said.contains("The certificate is trusted"),
            "{said}"
        );
    }
}
