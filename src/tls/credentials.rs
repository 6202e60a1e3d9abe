//! PEM text to certificates and keys, and certificates to plain values.
//!
//! It judges nothing and never reads a file. A private key never leaves this room but into the TLS
//! library.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::base64::decode_block;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sha::sha256;
use openssl::ssl::{SslContextBuilder, SslMethod};
use openssl::x509::{X509, X509Ref};

use super::leaf::KeyKind;
use super::mint::CertifiedKey;
use super::profile::Profile;
use rules::dn::{Name, read_tlv};
use rules::identity::{Digest, PeerIdentity};
use rules::shown::CommonName;

/// The address of a certificate that nobody has called with.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Makes the digest of a certificate: [`Digest::of_der`], except in the test of two certificates
/// that have the same digest.
type DigestFn = fn(&[u8]) -> Digest;

/// What is in a file such as `server.pem`: a key, the certificate for it, and further certificates.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(super) own: CertifiedKey,
    pub(super) chain: Vec<X509>,
    info: CertificateInfo,
}

/// Why a PEM file cannot be used as [`Credentials`].
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There is no certificate in it.
    #[error("no certificate (PEM block CERTIFICATE) in it")]
    NoCertificate,
    /// One of its certificate blocks does not hold a certificate.
    #[error("a certificate in it cannot be read: {0}")]
    Certificate(#[source] ErrorStack),
    /// There is no private key in it, or one that cannot be read.
    #[error("no private key in it that can be read: {0}")]
    Key(#[source] ErrorStack),
    /// No certificate in the file is for its key.
    #[error("the private key fits none of the {0} certificates in it")]
    Mismatch(usize),
    /// The TLS library refuses it.
    #[error("the TLS library refuses it: {0}")]
    Refused(#[from] ErrorStack),
}

impl Credentials {
    /// Reads key and certificate from PEM text as Ganeti writes it: the key first, then the
    /// certificate. Other blocks (DH parameters) are skipped; further certificates are sent along
    /// as the chain, but not the same one again.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CredentialsError> {
        let mut chain = stack(pem)?;
        let key = PKey::private_key_from_pem(pem).map_err(CredentialsError::Key)?;
        let fits = |c: &X509| c.public_key().is_ok_and(|public| public.public_eq(&key));
        let own = chain
            .iter()
            .position(fits)
            .ok_or(CredentialsError::Mismatch(chain.len()))?;
        let certificate = chain.remove(own);
        let der = certificate.to_der()?;
        chain.retain(|other| other.to_der().is_ok_and(|other| other != der));
        let info = CertificateInfo::of(&certificate)?;
        Ok(Self {
            own: CertifiedKey { key, certificate },
            chain,
            info,
        })
    }

    /// Whether the TLS library can serve with them, as an acceptor would.
    pub fn can_serve(&self, profile: Profile) -> Result<(), CredentialsError> {
        let mut context = profile.builder(SslMethod::tls_server())?;
        Ok(self.show(&mut context)?)
    }

    /// Whether the key of `issuer` made the signature of this certificate.
    pub(crate) fn signed_by(&self, issuer: &Self) -> bool {
        let signed = self.own.certificate.verify(&issuer.own.key);
        signed.unwrap_or(false)
    }

    /// Lets sessions show this certificate with its chain.
    pub(super) fn show(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        self.own.show(context)?;
        self.chain
            .iter()
            .try_for_each(|certificate| context.add_extra_chain_cert(certificate.clone()))
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
    pub common_name: Option<CommonName>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// The subject's name, as encoded bytes: clients compare names with their string types.
    pub subject: Name,
    /// The issuer's name, as encoded bytes.
    pub issuer: Name,
    /// Version of X.509: Ganeti's certificates are of version 1.
    pub x509_version: u8,
    /// The kind of the public key.
    pub kind: KeyKind,
    /// Size of the public key in bits; 0 for a key that the TLS library cannot read.
    pub key_bits: u32,
    /// Whether that is an RSA key, which needs more bits than the other kinds for the same
    /// strength.
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
        let key = certificate.public_key().ok();
        drop(ErrorStack::get()); // of a key that cannot be read
        let algorithm = certificate.signature_algorithm().object().nid();
        Ok(Self {
            digest: peer.digest,
            common_name: peer.common_name,
            not_before: peer.not_before,
            not_after: peer.not_after,
            subject: Name::from_der(certificate.subject_name().to_der()?),
            issuer: Name::from_der(certificate.issuer_name().to_der()?),
            x509_version: version(&peer.der),
            kind: KeyKind::of(&peer.der),
            der: peer.der,
            key_bits: key.as_ref().map_or(0, |key| key.bits()),
            rsa: key.is_some_and(|key| key.id() == Id::RSA),
            signature: algorithm.long_name().unwrap_or("unknown").to_owned(),
        })
    }

    /// Its holder as a peer that calls from this address.
    pub fn as_peer(&self, address: IpAddr) -> PeerIdentity {
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
pub(crate) fn certificates_with(
    pem: &[u8],
    digest: DigestFn,
) -> Result<Vec<CertificateInfo>, CredentialsError> {
    let all = stack(pem)?;
    let info = |c: &X509| CertificateInfo::of_with(c, digest);
    Ok(all.iter().map(info).collect::<Result<_, _>>()?)
}

/// Tells one content of a file from another, without keeping it.
pub(crate) fn fingerprint(content: &[u8]) -> [u8; 32] {
    sha256(content)
}

/// The DER of the first certificate in PEM text, which may be more than the TLS library can read.
pub(crate) fn first_der(pem: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(pem);
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_whitespace().collect();
    decode_block(&body).ok()
}

/// A certificate given as DER.
pub(crate) fn certificate(der: &[u8]) -> Result<CertificateInfo, CredentialsError> {
    let certificate = X509::from_der(der).map_err(CredentialsError::Certificate)?;
    Ok(CertificateInfo::of(&certificate)?)
}

/// PEM text of a certificate given as DER.
pub(crate) fn pem(der: &[u8]) -> Result<Vec<u8>, CredentialsError> {
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

/// Tells the certificates of this cluster from others: that of `server.pem`, and those signed by
/// it. This alone admitted a peer before Ganeti 2.11.
#[derive(Debug, Clone)]
pub struct Issuer {
    der: Arc<[u8]>,
    key: PKey<Public>,
}

impl Issuer {
    /// The issuer with the certificate of `server.pem`.
    pub fn new(credentials: &Credentials) -> Result<Self, ErrorStack> {
        Ok(Self {
            der: Arc::clone(&credentials.info.der),
            key: credentials.own.certificate.public_key()?,
        })
    }

    /// Whether a certificate (DER) is of this cluster.
    pub fn issued(&self, der: &[u8]) -> bool {
        if *self.der == *der {
            return true;
        }
        let signed = X509::from_der(der).and_then(|c| c.verify(&self.key));
        // A wrong signature leaves its error in the thread's queue. This runs in the middle of a
        // handshake, which would read that error as its own.
        drop(ErrorStack::get());
        matches!(signed, Ok(true))
    }
}

/// Copies what the rule needs out of a certificate, once for each handshake.
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
        .and_then(|entry| entry.data().to_string().ok())
        .map(CommonName::from);
    Ok(PeerIdentity {
        address,
        digest: digest(&der),
        der,
        common_name,
        not_before: unix(certificate.not_before())?,
        not_after: unix(certificate.not_after())?,
    })
}

/// The X.509 version of a certificate, which not every TLS library reports. It stands as `[0]`
/// before the serial number, and is absent for version 1 (RFC 5280, 4.1).
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
