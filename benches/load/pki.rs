//! The cluster's certificates as Ganeti makes them: X.509 v1, RSA 2048, a self-signed `server.pem`
//! that signs one client certificate for each node. And an ECDSA certificate signed by
//! `server.pem`, as noded-proxy makes it, for the other proxies that are measured.

use noded_proxy::tls::mint::{CertificateBuilder, CertifiedKey, common_name, p256_key, rsa_key};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A certificate with an RSA key, signed by `issuer` or by itself.
fn certificate(name: &str, issuer: Option<&CertifiedKey>) -> Result<CertifiedKey, ErrorStack> {
    with(rsa_key(2048)?, name, issuer)
}

fn with(
    key: PKey<Private>,
    name: &str,
    issuer: Option<&CertifiedKey>,
) -> Result<CertifiedKey, ErrorStack> {
    let builder = CertificateBuilder::new(common_name(name)?, key).valid_days(0, 1825);
    match issuer {
        Some(issuer) => builder.signed_by(issuer).mint(),
        None => builder.mint(),
    }
}

/// Writes `server.pem`, `leaf.pem`, `client/N.pem`, `unlisted.pem` (signed by server.pem, but in no
/// map) and the candidate `map`, in the order of the clients, into `dir`.
pub(crate) fn certs(dir: &Path, candidates: u32) {
    fs::create_dir_all(dir.join("client")).expect("folder");
    let save = |name: &str, id: &CertifiedKey| {
        fs::write(dir.join(name), id.pem().expect("pem")).expect("write");
    };
    let server = certificate("ganeti.example.com", None).expect("server certificate");
    save("server.pem", &server);
    let leaf = p256_key().and_then(|key| with(key, "leaf", Some(&server)));
    save("leaf.pem", &leaf.expect("leaf"));
    let mut map = String::new();
    for n in 1..=candidates {
        let node = format!("node{n}.example.com");
        let id = certificate(&node, Some(&server)).expect("client certificate");
        save(&format!("client/{n}.pem"), &id);
        let digest = id.digest().expect("digest");
        let _ = writeln!(map, "00000000-0000-4000-8000-{n:012}={digest}");
    }
    fs::write(dir.join("map"), map).expect("map");
    let rogue = certificate("node99.example.com", Some(&server)).expect("certificate");
    save("unlisted.pem", &rogue);
}
