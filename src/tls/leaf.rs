//! The certificate that clients see: that of `server.pem`, or an ECDSA one that `server.pem` has signed.
//!
//! An RSA-2048 signature is half of what a handshake costs, and every stranger's ClientHello asks for one; a
//! P-256 signature takes less than a tenth. Ganeti's clients trust `server.pem` as their one CA and compare no host name
//! (`lib/rpc/node.py`, 3.0.2), so what it has signed is as good to them as itself. The key lives in this
//! process alone, and the certificate may serve as a server only.

use openssl::asn1::Asn1Integer;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Name};
use serde::{Deserialize, Serialize};

use super::credentials::{CertificateInfo, Credentials};

/// Which certificate clients are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// An ECDSA P-256 certificate signed by `server.pem`, made when that is loaded; `server.pem` itself to clients that
    /// do not take ECDSA, and to all where it cannot sign.
    #[default]
    Ecdsa,
    /// `server.pem`.
    ServerPem,
}

impl Shown {
    /// The name, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::ServerPem => "server-pem",
        }
    }
}

/// An ECDSA key and the certificate that `server.pem` has signed for it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) key: PKey<Private>,
    pub(super) certificate: X509,
}

/// Why a certificate signed by `server.pem` would not help, or would not be believed.
#[derive(Debug, thiserror::Error)]
pub enum NoLeaf {
    /// Nothing to gain.
    #[error("server.pem is no RSA certificate")]
    NotRsa,
    /// A certificate from version 3 on says in extensions what it may sign; those that Ganeti makes are of version 1.
    #[error("server.pem is an X.509 v{0} certificate, and those that Ganeti makes are v1")]
    NotVersion1(u8),
    /// Its holder is not its issuer, and clients may ask for that one.
    #[error("server.pem is not self-signed")]
    NotSelfSigned,
    /// The file has further certificates, which clients would get as issuers of ours.
    #[error("server.pem has a chain of {0} certificates behind its own")]
    Chain(usize),
    /// The TLS library refuses.
    #[error("the TLS library refuses: {0}")]
    Refused(#[from] ErrorStack),
}

/// Whether every client that trusts this certificate believes what it has signed, too. OpenSSL and GnuTLS
/// take a trusted, self-signed certificate of version 1 for a CA; in one of version 3 the extensions would decide.
fn may_sign(server: &CertificateInfo, self_signed: bool, chain: usize) -> Result<(), NoLeaf> {
    match server {
        _ if !server.rsa => Err(NoLeaf::NotRsa),
        _ if server.x509_version != 1 => Err(NoLeaf::NotVersion1(server.x509_version)),
        _ if !self_signed || server.subject != server.issuer => Err(NoLeaf::NotSelfSigned),
        _ if chain > 0 => Err(NoLeaf::Chain(chain)),
        _ => Ok(()),
    }
}

impl Credentials {
    /// Adds a new ECDSA key with a certificate in the name of `host` to what clients are shown; or tells why
    /// `server.pem` is shown alone.
    pub fn add_leaf(&mut self, host: &str) -> Result<(), NoLeaf> {
        let self_signed = self.signed_by(self);
        may_sign(&self.info(), self_signed, self.chain.len())?;
        self.leaf = Some(Leaf::issue(self, host)?);
        Ok(())
    }
}

impl Leaf {
    /// A new key, and a certificate for it that is valid as long as that of `server.pem`.
    fn issue(server: &Credentials, host: &str) -> Result<Self, ErrorStack> {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&curve)?)?;
        let mut name = X509Name::builder()?;
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "noded-proxy")?; // so it is never the issuer's
        name.append_entry_by_nid(Nid::COMMONNAME, host)?;
        let mut leaf = X509::builder()?;
        leaf.set_version(2)?; // which is version 3
        leaf.set_serial_number(serial()?.as_ref())?;
        leaf.set_subject_name(&name.build())?;
        leaf.set_issuer_name(server.certificate.subject_name())?;
        leaf.set_not_before(server.certificate.not_before())?;
        leaf.set_not_after(server.certificate.not_after())?;
        leaf.set_pubkey(&key)?;
        leaf.append_extension(BasicConstraints::new().critical().build()?)?;
        leaf.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        leaf.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        leaf.sign(&server.key, MessageDigest::sha256())?;
        let certificate = leaf.build();
        Ok(Self { key, certificate })
    }
}

/// Random, positive, of 127 bits (RFC 5280, 4.1.2.2): no two certificates of one issuer have the same.
fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(127, MsbOption::ONE, false)?;
    number.to_asn1_integer()
}
