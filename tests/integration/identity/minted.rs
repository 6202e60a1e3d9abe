//! Certificates with names in any string type, self-signed or signed, X.509 version 1 or 3.

use std::collections::BTreeSet;

use noded_proxy::tls::mint::{CertificateBuilder, rsa_key};
use openssl::asn1::Asn1Type;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::{X509Name, X509NameRef};

use crate::support::pki::{Identity, rsa, signed};

/// The name that every cluster's `server.pem` has.
pub(super) const CLUSTER: &str = "ganeti.example.com";

/// The string types that occur, by name.
pub(super) const TYPES: [(&str, Asn1Type); 5] = [
    ("PrintableString", Asn1Type::PRINTABLESTRING),
    ("UTF8String", Asn1Type::UTF8STRING),
    ("T61String", Asn1Type::T61STRING),
    ("BMPString", Asn1Type::BMPSTRING),
    ("IA5String", Asn1Type::IA5STRING),
];

/// What a certificate shall be.
pub(super) struct Wish<'a> {
    pub(super) cn: &'a str,
    pub(super) string_type: Asn1Type,
    /// Nobody: signed by itself.
    pub(super) issuer: Option<&'a Identity>,
    /// 1 or 3.
    pub(super) version: i32,
    pub(super) digest: MessageDigest,
    pub(super) bits: u32,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            cn: CLUSTER,
            string_type: Asn1Type::UTF8STRING,
            issuer: None,
            version: 1,
            digest: MessageDigest::sha256(),
            bits: 2048,
        }
    }
}

impl Wish<'_> {
    pub(super) fn mint(self) -> Identity {
        let key = match self.bits {
            2048 => rsa(),
            bits => rsa_key(bits).unwrap(),
        };
        let builder = CertificateBuilder::new(name(self.cn, self.string_type), key)
            .x509_version(self.version)
            .valid_days(0, 1825)
            .signature_digest(self.digest);
        signed(builder, self.issuer)
    }
}

/// A common name in a string type.
fn name(cn: &str, string_type: Asn1Type) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    let text: String = match string_type {
        Asn1Type::BMPSTRING => cn.chars().flat_map(|c| ['\0', c]).collect(),
        _ => cn.into(),
    };
    name.append_entry_by_nid_with_type(Nid::COMMONNAME, &text, string_type)
        .unwrap();
    name.build()
}

/// The names of certificates, each once, as encoded bytes.
pub(super) fn names<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> BTreeSet<Vec<u8>> {
    let der = |name: &X509NameRef| name.to_der().unwrap();
    let both = |i: &Identity| [der(i.cert.subject_name()), der(i.cert.issuer_name())];
    identities.into_iter().flat_map(both).collect()
}
