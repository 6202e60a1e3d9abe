//! The certificate that clients see: that of `server.pem`, or an ECDSA one that `server.pem` has
//! signed.
//!
//! An RSA-2048 signature is half of what a handshake costs, and every stranger's ClientHello asks
//! for one. A P-256 signature costs less than a tenth of it. Ganeti's clients trust `server.pem` as
//! their one CA and compare no host name (`lib/rpc/node.py`, 3.0.2), so they believe what it has
//! signed as they believe `server.pem` itself. The new key never leaves this process, and its
//! certificate is never good for anything but a server.

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::X509Name;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use serde::{Deserialize, Serialize};

use super::credentials::{CertificateInfo, Credentials};
use super::mint::{CertificateBuilder, CertifiedKey, p256_key};

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
    /// A new key, and a certificate for it in the name of `host` that is valid as long as
    /// `server.pem`.
    pub fn mint(server: &Credentials, host: &str) -> Result<Self, NoEcdsaCertificate> {
        let info = server.info();
        may_sign(&info, server.signed_by(server), server.chain.len())?;
        let mut name = X509Name::builder()?;
        // With an organization, so that the name differs from the issuer's even on a host named
        // like it.
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "noded-proxy")?;
        name.append_entry_by_nid(Nid::COMMONNAME, host)?;
        let minted = CertificateBuilder::new(name.build(), p256_key()?)
            .x509_version(3)
            .valid_between(info.not_before, info.not_after)
            .extension(BasicConstraints::new().critical().build()?)
            .extension(KeyUsage::new().critical().digital_signature().build()?)
            .extension(ExtendedKeyUsage::new().server_auth().build()?)
            .signed_by(&server.own)
            .mint()?;
        Ok(Self(minted))
    }
}
