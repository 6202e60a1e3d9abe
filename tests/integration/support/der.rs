//! Certificates in plain DER, so that they can have what no library would write.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

/// Tags of ASN.1.
pub(crate) const BOOLEAN: u8 = 1;
pub(crate) const BITS: u8 = 3;
pub(crate) const OCTETS: u8 = 4;
pub(crate) const UTF8: u8 = 12;
pub(crate) const PRINTABLE: u8 = 19;
pub(crate) const T61: u8 = 20;
pub(crate) const UNIVERSAL: u8 = 28;
pub(crate) const BMP: u8 = 30;

/// Object identifiers of attributes and extensions.
pub(crate) const CN: &str = "2.5.4.3";
pub(crate) const ORGANIZATION: &str = "2.5.4.10";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const ALT_NAMES: &str = "2.5.29.17";
pub(crate) const CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(crate) const AUTHORITY_KEY: &str = "2.5.29.35";
pub(crate) const EXTENDED_USAGE: &str = "2.5.29.37";

/// Signature algorithms with RSA.
pub(crate) const SHA256: &str = "1.2.840.113549.1.1.11";
pub(crate) const SHA512: &str = "1.2.840.113549.1.1.13";
pub(crate) const SHA1: &str = "1.2.840.113549.1.1.5";
pub(crate) const MD5: &str = "1.2.840.113549.1.1.4";

/// A value with its tag and length.
pub(crate) fn tlv(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = content.len().to_be_bytes();
    let length = match content.len() {
        ..128 => vec![content.len() as u8],
        _ => {
            let used: Vec<u8> = length.iter().copied().skip_while(|b| *b == 0).collect();
            [&[0x80 | used.len() as u8][..], &used].concat()
        }
    };
    [&[tag][..], &length, content].concat()
}

/// A sequence of these values.
pub(crate) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, parts.concat())
}

/// A small number that is not negative.
pub(crate) fn integer(number: u8) -> Vec<u8> {
    tlv(2, [number])
}

/// An object identifier.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    let numbers: Vec<u64> = text.split('.').map(|n| n.parse().unwrap()).collect();
    let mut bytes = vec![(numbers[0] * 40 + numbers[1]) as u8];
    for number in &numbers[2..] {
        let mut septets = vec![(number & 127) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            septets.insert(0, 128 | (rest & 127) as u8);
            rest >>= 7;
        }
        bytes.extend(septets);
    }
    tlv(6, bytes)
}

/// A name with one attribute.
pub(crate) fn name(attribute: &str, tag: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    seq(&[rdn(attribute, tag, value)])
}

/// A part of a name.
pub(crate) fn rdn(attribute: &str, tag: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x31, seq(&[oid(attribute), tlv(tag, value)]))
}

/// A time with a year of two digits.
pub(crate) fn utc(text: &str) -> Vec<u8> {
    tlv(0x17, text)
}

/// A time with a year of four digits.
pub(crate) fn generalized(text: &str) -> Vec<u8> {
    tlv(0x18, text)
}

/// An extension that is not critical.
pub(crate) fn extension(kind: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    seq(&[oid(kind), tlv(OCTETS, value)])
}

/// A critical one.
pub(crate) fn critical(kind: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    seq(&[oid(kind), tlv(BOOLEAN, [0xff]), tlv(OCTETS, value)])
}

/// What a certificate consists of; without further settings that of a `client.pem`.
pub(crate) struct Parts {
    /// X.509 version, counted from 0; by default what the extensions need.
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Vec<u8>,
    pub(crate) not_after: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub(crate) key: Vec<u8>,
    pub(crate) unique_id: Option<Vec<u8>>,
    pub(crate) extensions: Option<Vec<Vec<u8>>>,
    /// The algorithm of the signature, inside and outside.
    pub(crate) algorithms: [Vec<u8>; 2],
    pub(crate) digest: MessageDigest,
    pub(crate) signature_broken: bool,
}

/// An algorithm with empty parameters.
pub(crate) fn algorithm(kind: &str) -> Vec<u8> {
    seq(&[oid(kind), tlv(5, [])])
}

impl Parts {
    /// A certificate for this key (SubjectPublicKeyInfo).
    pub(crate) fn of(key: &[u8]) -> Self {
        Self {
            version: None,
            serial: tlv(2, [0x12, 0x34, 0x56, 0x78]),
            issuer: name(CN, UTF8, "ganeti.example.com"),
            not_before: utc("250101000000Z"),
            not_after: utc("350101000000Z"),
            subject: name(CN, UTF8, "node1.example.com"),
            key: key.to_vec(),
            unique_id: None,
            extensions: None,
            algorithms: [algorithm(SHA256), algorithm(SHA256)],
            digest: MessageDigest::sha256(),
            signature_broken: false,
        }
    }

    /// The certificate, signed by this RSA key.
    pub(crate) fn signed_by(self, issuer: &PKey<Private>) -> Vec<u8> {
        let least = if self.extensions.is_some() { 2 } else { 0 };
        let version = self.version.unwrap_or(least);
        let [inside, outside] = self.algorithms;
        let mut parts = match version {
            0 => Vec::new(),
            _ => vec![tlv(0xa0, integer(version))],
        };
        let validity = seq(&[self.not_before, self.not_after]);
        parts.extend([self.serial, inside, self.issuer, validity]);
        parts.extend([self.subject, self.key]);
        parts.extend(self.unique_id.map(|id| tlv(0x81, [&[0][..], &id].concat())));
        parts.extend(self.extensions.map(|all| tlv(0xa3, seq(&all))));
        let tbs = seq(&parts);
        let mut signer = Signer::new(self.digest, issuer).unwrap();
        let mut signature = signer.sign_oneshot_to_vec(&tbs).unwrap();
        signature[0] ^= u8::from(self.signature_broken);
        let signature = [&[0][..], &signature].concat();
        seq(&[tbs, outside, tlv(BITS, signature)])
    }
}
