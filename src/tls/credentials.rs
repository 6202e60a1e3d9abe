//! PEM text to certificates and keys, and certificates to plain values.

use std::sync::Arc;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::{X509, X509Ref};

use crate::identity::{Digest, PeerIdentity};

/// Key and certificate that belong together.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(super) key: PKey<Private>,
    pub(super) certificate: X509,
    pub(super) chain: Vec<X509>,
    info: CertificateInfo,
}

/// Why a PEM file is no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No certificate in it.
    #[error("no certificate (PEM block CERTIFICATE) in it")]
    NoCertificate,
    /// A certificate block that is not one.
    #[error("a certificate in it cannot be read: {0}")]
    Certificate(#[source] ErrorStack),
    /// No private key in it, or one that cannot be read.
    #[error("no private key in it that can be read: {0}")]
    Key(#[source] ErrorStack),
    /// The key is not that of any certificate in the file.
    #[error("the private key fits none of the {0} certificates in it")]
    Mismatch(usize),
    /// The TLS library refuses it.
    #[error("the TLS library refuses it: {0}")]
    Refused(#[from] ErrorStack),
}

impl Credentials {
    /// Reads key and certificate from PEM text as Ganeti writes it: the key first, then the certificate.
    /// Other blocks (DH parameters) are skipped; further certificates are sent along as the chain.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CredentialsError> {
        let mut chain = stack(pem)?;
        let key = PKey::private_key_from_pem(pem).map_err(CredentialsError::Key)?;
        let fits = |c: &X509| c.public_key().is_ok_and(|public| public.public_eq(&key));
        let leaf = chain
            .iter()
            .position(fits)
            .ok_or(CredentialsError::Mismatch(chain.len()))?;
        let certificate = chain.remove(leaf);
        let info = CertificateInfo::of(&certificate)?;
        Ok(Self {
            key,
            certificate,
            chain,
            info,
        })
    }

    /// Whether the key of `issuer` made the signature of this certificate.
    pub fn signed_by(&self, issuer: &Self) -> bool {
        self.certificate.verify(&issuer.key).unwrap_or(false)
    }

    /// The certificate as plain values.
    pub fn info(&self) -> CertificateInfo {
        self.info.clone()
    }
}

/// A certificate as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// SHA-1 of the DER.
    pub digest: Digest,
    /// The certificate, DER.
    pub der: Arc<[u8]>,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Size of the public key in bits.
    pub key_bits: u32,
    /// Whether that is an RSA key (whose bits count for less than those of other kinds).
    pub rsa: bool,
    /// Algorithm of the issuer's signature, in OpenSSL's long form (`sha256WithRSAEncryption`).
    pub signature: String,
    /// The subject, DER: names are compared as encoded bytes, for string types differ.
    pub subject: Arc<[u8]>,
    /// The issuer's name, DER.
    pub issuer: Arc<[u8]>,
}

impl CertificateInfo {
    pub(super) fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let peer = peer_identity(certificate)?;
        let key = certificate.public_key()?;
        let algorithm = certificate.signature_algorithm().object().nid();
        let (subject, issuer) = (certificate.subject_name(), certificate.issuer_name());
        Ok(Self {
            digest: peer.digest,
            der: peer.der,
            common_name: peer.common_name,
            not_before: peer.not_before,
            not_after: peer.not_after,
            key_bits: key.bits(),
            rsa: key.id() == Id::RSA,
            signature: algorithm.long_name().unwrap_or("unknown").to_owned(),
            subject: subject.to_der()?.into(),
            issuer: issuer.to_der()?.into(),
        })
    }
}

/// The certificates in PEM text, in their order; keys and other blocks are skipped.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateInfo>, CredentialsError> {
    let all = stack(pem)?;
    Ok(all
        .iter()
        .map(|c| CertificateInfo::of(c))
        .collect::<Result<_, _>>()?)
}

fn stack(pem: &[u8]) -> Result<Vec<X509>, CredentialsError> {
    let all = X509::stack_from_pem(pem).map_err(CredentialsError::Certificate)?;
    if all.is_empty() {
        Err(CredentialsError::NoCertificate)
    } else {
        Ok(all)
    }
}

/// Copies what the rooms behind need out of a certificate, once.
pub(super) fn peer_identity(certificate: &X509Ref) -> Result<PeerIdentity, ErrorStack> {
    let der: Arc<[u8]> = certificate.to_der()?.into();
    let common_name = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()
        .and_then(|entry| entry.data().to_string().ok());
    Ok(PeerIdentity {
        digest: Digest::of_der(&der),
        der,
        common_name,
        not_before: unix(certificate.not_before())?,
        not_after: unix(certificate.not_after())?,
    })
}

fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
