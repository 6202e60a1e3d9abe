//! Makes X.509 certificates: the daemon's ECDSA certificate, and those of the demo and the tests.
//!
//! This is the one place that signs a certificate. It decides nothing: who may sign what is for the
//! caller to know. It never touches a file, so keys that are made here live in memory until the
//! caller writes them.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha1;
use openssl::ssl::SslContextBuilder;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Extension, X509Name};
use rules::dn::read_tlv;
use rules::identity::Digest;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A private key and the certificate for it.
#[derive(Debug, Clone)]
pub struct CertifiedKey {
    /// The private key.
    pub key: PKey<Private>,
    /// Its certificate.
    pub certificate: X509,
}

impl CertifiedKey {
    /// Key and certificate as PEM text, in the order in which Ganeti writes them: the key first.
    pub fn pem(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut pem = self.key.private_key_to_pem_pkcs8()?;
        pem.extend(self.certificate.to_pem()?);
        Ok(pem)
    }

    /// Lets sessions show this certificate.
    pub(super) fn show(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        context.set_certificate(&self.certificate)?;
        context.set_private_key(&self.key)?;
        context.check_private_key()
    }

    /// The certificate's digest, as the candidate map has it.
    pub fn digest(&self) -> Result<Digest, ErrorStack> {
        Ok(Digest::of_der(&self.certificate.to_der()?))
    }
}

/// A new RSA key.
pub fn rsa_key(bits: u32) -> Result<PKey<Private>, ErrorStack> {
    PKey::from_rsa(Rsa::generate(bits)?)
}

/// A new ECDSA key on P-256.
pub fn p256_key() -> Result<PKey<Private>, ErrorStack> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&curve)?)
}

/// A name that consists of a common name, as Ganeti's certificates have it.
pub fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

/// Subject key identifier and authority key identifier of a certificate for `key` that the key of
/// its issuer signs (RFC 5280, 4.2.1.1 and 4.2.1.2).
pub(super) fn key_identifiers(
    key: &PKeyRef<impl HasPublic>,
    issuers: &PKeyRef<impl HasPublic>,
) -> Result<[X509Extension; 2], ErrorStack> {
    let own = [&[0x04, 20][..], &key_identifier(key)?].concat();
    let issuers = [&[0x30, 22, 0x80, 20][..], &key_identifier(issuers)?].concat();
    Ok([
        extension("2.5.29.14", &own)?,
        extension("2.5.29.35", &issuers)?,
    ])
}

/// The SHA-1 of the bits of a public key, without tag, length and number of unused bits.
fn key_identifier(key: &PKeyRef<impl HasPublic>) -> Result<[u8; 20], ErrorStack> {
    let der = key.public_key_to_der()?;
    // SubjectPublicKeyInfo (RFC 5280, 4.1): algorithm, and the key as a bit string
    let bits = read_tlv(&der)
        .and_then(|(_, info, _)| read_tlv(info))
        .and_then(|(_, _, rest)| read_tlv(rest))
        .and_then(|(_, bits, _)| bits.get(1..));
    Ok(sha1(bits.unwrap_or(&der)))
}

/// The subject alternative names of a host.
pub(super) fn host_names(names: &BTreeSet<String>) -> Result<X509Extension, ErrorStack> {
    let mut extension = SubjectAlternativeName::new();
    for name in names {
        extension.dns(name);
    }
    let certificate = X509::builder()?;
    extension.build(&certificate.x509v3_context(None, None))
}

/// An extension that is not critical, from the DER of its value.
fn extension(oid: &str, der: &[u8]) -> Result<X509Extension, ErrorStack> {
    let value = Asn1OctetString::new_from_bytes(der)?;
    let oid = Asn1Object::from_str(oid)?;
    X509Extension::new_from_der(&oid, false, &value)
}

/// A certificate to be made. Without further settings it is like Ganeti's (`lib/utils/x509.py`,
/// 3.0.2): X.509 version 1, without extensions, self-signed with SHA-256. It is valid for one day
/// from now.
pub struct CertificateBuilder<'a> {
    subject: X509Name,
    key: PKey<Private>,
    x509_version: i32,
    valid: (i64, i64),
    digest: MessageDigest,
    extensions: Vec<X509Extension>,
    issuer: Option<&'a CertifiedKey>,
}

impl<'a> CertificateBuilder<'a> {
    /// A certificate for this key in this name.
    pub fn new(subject: X509Name, key: PKey<Private>) -> Self {
        let builder = Self {
            subject,
            key,
            x509_version: 1,
            valid: (0, 0),
            digest: MessageDigest::sha256(),
            extensions: Vec::new(),
            issuer: None,
        };
        builder.valid_days(0, 1)
    }

    /// The version of X.509, 1 or 3.
    pub fn x509_version(mut self, version: i32) -> Self {
        self.x509_version = version;
        self
    }

    /// Valid from one time to another, in seconds since 1970.
    pub fn valid_between(mut self, not_before: i64, not_after: i64) -> Self {
        self.valid = (not_before, not_after);
        self
    }

    /// Valid between these days, counted from now: negative ones have passed.
    pub fn valid_days(self, from: i64, to: i64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs() as i64);
        self.valid_between(now + from * DAY, now + to * DAY)
    }

    /// The hash function of the signature.
    pub fn signature_digest(mut self, digest: MessageDigest) -> Self {
        self.digest = digest;
        self
    }

    /// With this extension, which a certificate of version 3 may have.
    pub fn extension(mut self, extension: X509Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Signed by this issuer instead of by itself.
    pub fn signed_by(mut self, issuer: &'a CertifiedKey) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Makes and signs the certificate.
    pub fn mint(self) -> Result<CertifiedKey, ErrorStack> {
        let subject = self.subject.as_ref();
        let issuer = self
            .issuer
            .map_or(subject, |i| i.certificate.subject_name());
        let mut certificate = X509::builder()?;
        certificate.set_version(self.x509_version - 1)?; // X.509 counts versions from 0
        certificate.set_serial_number(serial()?.as_ref())?;
        certificate.set_subject_name(subject)?;
        certificate.set_issuer_name(issuer)?;
        certificate.set_not_before(Asn1Time::from_unix(self.valid.0)?.as_ref())?;
        certificate.set_not_after(Asn1Time::from_unix(self.valid.1)?.as_ref())?;
        certificate.set_pubkey(&self.key)?;
        for extension in self.extensions {
            certificate.append_extension(extension)?;
        }
        let signer = self.issuer.map_or(&self.key, |issuer| &issuer.key);
        certificate.sign(signer, self.digest)?;
        Ok(CertifiedKey {
            certificate: certificate.build(),
            key: self.key,
        })
    }
}

/// A random positive number of 127 bits: RFC 5280, 4.1.2.2, forbids two equal ones of one issuer.
fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(127, MsbOption::ONE, false)?;
    number.to_asn1_integer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificate;

    fn info(minted: &CertifiedKey) -> crate::tls::CertificateInfo {
        certificate(&minted.certificate.to_der().unwrap()).unwrap()
    }

    #[test]
    fn without_settings_it_is_like_ganetis_and_signs_itself() {
        let name = common_name("ganeti.example.com").unwrap();
        let minted = CertificateBuilder::new(name, p256_key().unwrap()).mint();
        let minted = minted.unwrap();
        let info = info(&minted);
        assert_eq!((info.x509_version, info.key_bits), (1, 256));
        assert_eq!(info.common_name.as_deref(), Some("ganeti.example.com"));
        assert_eq!(info.subject, info.issuer);
        assert_eq!(info.not_after - info.not_before, DAY);
        assert!(minted.certificate.verify(&minted.key).unwrap());
        assert_eq!(info.digest, minted.digest().unwrap());
    }

    #[test]
    fn an_issuer_version_and_validity_are_what_was_asked_for() {
        let mint = |name: &str| {
            let name = common_name(name).unwrap();
            CertificateBuilder::new(name, p256_key().unwrap())
        };
        let issuer = mint("issuer").mint().unwrap();
        let builder = mint("node1").x509_version(3).valid_between(1_000, 2_000);
        let minted = builder.signed_by(&issuer).mint().unwrap();
        let (its, issuers) = (info(&minted), info(&issuer));
        assert_eq!(its.x509_version, 3);
        assert_eq!((its.not_before, its.not_after), (1_000, 2_000));
        assert_eq!(its.issuer, issuers.subject);
        assert!(minted.certificate.verify(&issuer.key).unwrap());
        assert!(!minted.certificate.verify(&minted.key).unwrap());
    }
}
