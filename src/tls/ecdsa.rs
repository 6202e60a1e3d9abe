//! The certificate that clients see: that of `server.pem`, or an ECDSA one that `server.pem` has
//! signed.
//!
//! An RSA-2048 signature is half of what a handshake costs, and every stranger's ClientHello asks
//! for one. A P-256 signature costs less than a tenth of it. Ganeti's clients trust `server.pem` as
//! their one CA and compare no host name (`lib/rpc/node.py`, 3.0.2), so they believe what it has
//! signed as they believe `server.pem` itself. A client that does compare names finds those of
//! `server.pem` in it. The new key never leaves this process, and its certificate is never good for
//! anything but a server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Name};
use serde::{Deserialize, Serialize};

use super::credentials::{CertificateInfo, Credentials};
use super::mint::{CertificateBuilder, CertifiedKey, host_names, key_identifiers, p256_key};

/// Which certificate clients are shown (`tls.certificate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerCertificate {
    /// An ECDSA P-256 certificate that `server.pem` signs each time it is loaded. Clients that do
    /// not accept ECDSA are shown `server.pem`. If `server.pem` cannot sign, all are.
    #[default]
    Ecdsa,
    /// `server.pem`.
    ServerPem,
}

impl ServerCertificate {
    /// The name, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::ServerPem => "server-pem",
        }
    }
}

/// An ECDSA key, and the certificate for it that `server.pem` has signed.
#[derive(Debug, Clone)]
pub struct EcdsaCertificate(pub(super) CertifiedKey);

/// Why `server.pem` signs no certificate: it would not help, or clients would not believe it.
#[derive(Debug, thiserror::Error)]
pub enum NoEcdsaCertificate {
    /// `server.pem` has no RSA key, so a signature of another key would not be cheaper.
    #[error("server.pem is not an RSA certificate")]
    NotRsa,
    /// From version 3 on, extensions say what a certificate may sign. Ganeti's are of version 1.
    #[error("server.pem is an X.509 v{0} certificate, and those that Ganeti makes are v1")]
    NotVersion1(u8),
    /// Clients may want to see its issuer, which is another certificate.
    #[error("server.pem is not self-signed")]
    NotSelfSigned,
    /// Clients would get the other certificates in the file as issuers of the new one.
    #[error("server.pem has a chain of {0} certificates behind its own")]
    Chain(usize),
    /// The TLS library refuses to make or to sign it.
    #[error("the TLS library refuses: {0}")]
    Refused(#[from] ErrorStack),
}

/// Whether every client that trusts this certificate also believes what it has signed. OpenSSL and
/// GnuTLS accept a trusted, self-signed certificate of version 1 as a CA. In one of version 3 the
/// extensions would decide.
fn may_sign(
    server: &CertificateInfo,
    self_signed: bool,
    chain: usize,
) -> Result<(), NoEcdsaCertificate> {
    match server {
        _ if !server.rsa => Err(NoEcdsaCertificate::NotRsa),
        _ if server.x509_version != 1 => Err(NoEcdsaCertificate::NotVersion1(server.x509_version)),
        _ if !self_signed || server.subject != server.issuer => {
            Err(NoEcdsaCertificate::NotSelfSigned)
        }
        _ if chain > 0 => Err(NoEcdsaCertificate::Chain(chain)),
        _ => Ok(()),
    }
}

impl EcdsaCertificate {
    /// A new key, and a certificate for it that is valid as long as `server.pem` and has its
    /// subject. It is good for the host names that `server.pem` is good for, and for `names`.
    pub fn mint(
        server: &Credentials,
        names: &BTreeSet<String>,
    ) -> Result<Self, NoEcdsaCertificate> {
        let info = server.info();
        may_sign(&info, server.signed_by(server), server.chain.len())?;
        let (own, key) = (&server.own.certificate, p256_key()?);
        // Subject and issuer are the same name. The two key identifiers tell clients all the same
        // that this certificate is not self-signed.
        let identifiers = key_identifiers(&key, &server.own.key)?;
        let subject = X509Name::from_der(&own.subject_name().to_der()?)?;
        let mut builder = CertificateBuilder::new(subject, key)
            .x509_version(3)
            .valid_between(info.not_before, info.not_after)
            .extension(BasicConstraints::new().critical().build()?)
            .extension(KeyUsage::new().critical().digital_signature().build()?)
            .extension(ExtendedKeyUsage::new().server_auth().build()?);
        for identifier in identifiers {
            builder = builder.extension(identifier);
        }
        let mut names = names.clone();
        names.extend(common_names(own));
        names.retain(|name| is_host_name(name));
        if !names.is_empty() {
            builder = builder.extension(host_names(&names)?);
        }
        Ok(Self(builder.signed_by(&server.own).mint()?))
    }
}

/// The common names of a certificate's subject. `server.pem` has no other names, and clients take
/// them for host names. They ignore them in a certificate that has alternative names.
fn common_names(certificate: &X509) -> Vec<String> {
    let entries = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    entries
        .filter_map(|entry| Some(entry.data().to_string().ok()?.to_string()))
        .collect()
}

/// Whether this can stand in a certificate as a host name, the first label perhaps a wildcard.
fn is_host_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut labels = name.split('.');
    let first = labels.next().unwrap_or_default();
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    name.len() <= 253
        && name.parse::<IpAddr>().is_err()
        && (first == "*" || is_label(first))
        && labels.all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{common_name, rsa_key};

    /// The subject alternative names of the certificate that a `server.pem` with this common name
    /// signs.
    fn names(cn: &str, more: &[&str]) -> Vec<String> {
        let server = CertificateBuilder::new(common_name(cn).unwrap(), rsa_key(2048).unwrap());
        let server = server.mint().unwrap();
        let credentials = Credentials::from_pem(&server.pem().unwrap()).unwrap();
        let more = more.iter().map(ToString::to_string).collect();
        let minted = EcdsaCertificate::mint(&credentials, &more).unwrap();
        let leaf = minted.0.certificate;
        let der = |name: &openssl::x509::X509NameRef| name.to_der().unwrap();
        let subject = der(server.certificate.subject_name());
        assert!(der(leaf.subject_name()) == subject && der(leaf.issuer_name()) == subject);
        let names = leaf.subject_alt_names().into_iter().flatten();
        names.map(|n| n.dnsname().unwrap().to_owned()).collect()
    }

    /// As where `--key` and `--cert` of a transfer are both `server.pem`.
    #[test]
    fn the_same_certificate_twice_is_no_chain() {
        let name = common_name("ganeti.example.com").unwrap();
        let server = CertificateBuilder::new(name, rsa_key(2048).unwrap());
        let pem = server.mint().unwrap().pem().unwrap();
        let twice = Credentials::from_pem(&[&pem[..], &pem].concat()).unwrap();
        assert!(EcdsaCertificate::mint(&twice, &BTreeSet::new()).is_ok());
        let other = CertificateBuilder::new(common_name("ca").unwrap(), rsa_key(2048).unwrap());
        let other = other.mint().unwrap().pem().unwrap();
        let chain = Credentials::from_pem(&[&pem[..], &other].concat()).unwrap();
        assert!(EcdsaCertificate::mint(&chain, &BTreeSet::new()).is_err());
    }

    #[test]
    fn it_is_good_for_the_names_of_server_pem_and_for_those_given() {
        let table: [(&str, &[&str], &[&str]); 5] = [
            ("ganeti.example.com", &[], &["ganeti.example.com"]),
            (
                "ganeti.example.com",
                &["cluster.example.com", "node1", "ganeti.example.com"],
                &["cluster.example.com", "ganeti.example.com", "node1"],
            ),
            ("*.example.com", &["192.0.2.1", "::1"], &["*.example.com"]),
            ("no host", &["", "a..b", "x\ny", "n\u{f6}de"], &[]),
            ("no host", &["node_1"], &["node_1"]),
        ];
        for (cn, more, expected) in table {
            assert_eq!(names(cn, more), expected, "{cn} {more:?}");
        }
    }
}
