//! PEM text to certificates and keys, and certificates to plain values.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::x509::{X509, X509Ref};

use super::leaf::Leaf;
use rules::dn::{Name, read_tlv};
use rules::identity::{Digest, PeerIdentity};

/// A certificate alone calls from nowhere.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What makes a certificate's digest: [`Digest::of_der`], but in the test of what happens when two
/// certificates have the same one.
pub type DigestFn = fn(&[u8]) -> Digest;

/// Key and certificate that belong together.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(super) key: PKey<Private>,
    pub(super) certificate: X509,
    pub(super) chain: Vec<X509>,
    /// What clients that take ECDSA are shown instead.
    pub(super) leaf: Option<Leaf>,
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
            leaf: None,
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
    /// The subject, as encoded bytes: names are compared so, for string types differ.
    pub subject: Name,
    /// The issuer's name, as encoded bytes.
    pub issuer: Name,
    /// Version of X.509: Ganeti's certificates are of version 1.
    pub x509_version: u8,
    /// Size of the public key in bits.
    pub key_bits: u32,
    /// Whether that is an RSA key (whose bits count for less than those of other kinds).
    pub rsa: bool,
    /// Algorithm of the issuer's signature, in OpenSSL's long form (`sha256WithRSAEncryption`).
    pub signature: String,
}

impl CertificateInfo {
    pub(super) fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        Self::of_with(certificate, Digest::of_der)
    }

    fn of_with(certificate: &X509Ref, digest: DigestFn) -> Result<Self, ErrorStack> {
        let peer = peer_identity_with(certificate, NOWHERE, digest)?;
        let key = certificate.public_key()?;
        let algorithm = certificate.signature_algorithm().object().nid();
        Ok(Self {
            digest: peer.digest,
            common_name: peer.common_name,
            not_before: peer.not_before,
            not_after: peer.not_after,
            subject: Name::from_der(certificate.subject_name().to_der()?),
            issuer: Name::from_der(certificate.issuer_name().to_der()?),
            x509_version: version(&peer.der),
            der: peer.der,
            key_bits: key.bits(),
            rsa: key.id() == Id::RSA,
            signature: algorithm.long_name().unwrap_or("unknown").to_owned(),
        })
    }

    /// Who its holder is to the rule, calling from an address.
    pub fn held_by(&self, address: IpAddr) -> PeerIdentity {
        PeerIdentity {
            address,
            digest: self.digest,
            der: Arc::clone(&self.der),
            common_name: self.common_name.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

/// The certificates in PEM text, in their order; keys and other blocks are skipped.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateInfo>, CredentialsError> {
    certificates_with(pem, Digest::of_der)
}

/// As [`certificates`], with any digest function.
pub fn certificates_with(
    pem: &[u8],
    digest: DigestFn,
) -> Result<Vec<CertificateInfo>, CredentialsError> {
    let all = stack(pem)?;
    let info = |c: &X509| CertificateInfo::of_with(c, digest);
    Ok(all.iter().map(info).collect::<Result<_, _>>()?)
}

/// A certificate given as DER.
pub fn certificate(der: &[u8]) -> Result<CertificateInfo, CredentialsError> {
    let certificate = X509::from_der(der).map_err(CredentialsError::Certificate)?;
    Ok(CertificateInfo::of(&certificate)?)
}

/// PEM text of a certificate given as DER.
pub fn pem(der: &[u8]) -> Result<Vec<u8>, CredentialsError> {
    X509::from_der(der)
        .and_then(|certificate| certificate.to_pem())
        .map_err(CredentialsError::Certificate)
}

fn stack(pem: &[u8]) -> Result<Vec<X509>, CredentialsError> {
    let all = X509::stack_from_pem(pem).map_err(CredentialsError::Certificate)?;
    if all.is_empty() {
        Err(CredentialsError::NoCertificate)
    } else {
        Ok(all)
    }
}

/// The rule that counted before Ganeti 2.11: the certificate is that of `server.pem`, or signed by it.
#[derive(Debug, Clone)]
pub struct Issuer {
    der: Arc<[u8]>,
    key: PKey<Public>,
}

impl Issuer {
    /// Of the certificate in `server.pem`.
    pub fn new(credentials: &Credentials) -> Result<Self, ErrorStack> {
        Ok(Self {
            der: Arc::clone(&credentials.info.der),
            key: credentials.certificate.public_key()?,
        })
    }

    /// Whether a certificate (DER) is of this cluster.
    pub fn made(&self, der: &[u8]) -> bool {
        if *self.der == *der {
            return true;
        }
        let signed = X509::from_der(der).and_then(|c| c.verify(&self.key));
        // A signature that does not fit leaves its error in the thread's queue, and this is asked in the middle
        // of a handshake, which would take the error for its own.
        drop(ErrorStack::get());
        matches!(signed, Ok(true))
    }
}

/// Copies what the rooms behind need out of a certificate, once.
pub(super) fn peer_identity(
    certificate: &X509Ref,
    address: IpAddr,
) -> Result<PeerIdentity, ErrorStack> {
    peer_identity_with(certificate, address, Digest::of_der)
}

fn peer_identity_with(
    certificate: &X509Ref,
    address: IpAddr,
    digest: DigestFn,
) -> Result<PeerIdentity, ErrorStack> {
    let der: Arc<[u8]> = certificate.to_der()?.into();
    let common_name = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()
        .and_then(|entry| entry.data().to_string().ok());
    Ok(PeerIdentity {
        address,
        digest: digest(&der),
        der,
        common_name,
        not_before: unix(certificate.not_before())?,
        not_after: unix(certificate.not_after())?,
    })
}

/// The version of a certificate, which not every link target tells: `[0]` in front of the serial number, and
/// absent for version 1 (RFC 5280, 4.1).
fn version(der: &[u8]) -> u8 {
    let explicit = read_tlv(der)
        .and_then(|(_, certificate, _)| read_tlv(certificate))
        .and_then(|(_, tbs, _)| read_tlv(tbs))
        .filter(|(tag, _, _)| *tag == 0xa0);
    match explicit.and_then(|(_, version, _)| read_tlv(version)) {
        Some((0x02, [version], _)) => version.saturating_add(1),
        _ => 1,
    }
}

fn unix(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
