//! The kind of key in a certificate, and the signatures that the TLS library asks of it.
//!
//! Pure: it reads bytes. It never refuses anybody: whoever asks decides.

use rules::dn::read_tlv;
use rules::named;

named! {
    /// The kind of a public key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum KeyKind {
        /// RSA, as Ganeti makes it.
        Rsa = "RSA",
        /// RSA for PSS signatures alone.
        RsaPss = "RSA-PSS",
        /// ECDSA on P-256.
        P256 = "ECDSA P-256",
        /// ECDSA on P-384.
        P384 = "ECDSA P-384",
        /// ECDSA on P-521.
        P521 = "ECDSA P-521",
        /// ECDSA on another curve, for which TLS 1.3 has no signature.
        OtherCurve = "ECDSA on another curve",
        /// Ed25519.
        Ed25519 = "Ed25519",
        /// Ed448.
        Ed448 = "Ed448",
        /// Anything else.
        Other = "unknown",
    }
}

impl KeyKind {
    /// The kind of the key in a certificate (DER).
    pub fn of(certificate: &[u8]) -> Self {
        let Some((oid, parameters)) = key_algorithm(certificate) else {
            return Self::Other;
        };
        let curve = || read_tlv(parameters).map(|(_, curve, _)| curve);
        match oid {
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1] => Self::Rsa,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => Self::RsaPss,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => match curve() {
                Some([0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]) => Self::P256,
                Some([0x2b, 0x81, 0x04, 0, 0x22]) => Self::P384,
                Some([0x2b, 0x81, 0x04, 0, 0x23]) => Self::P521,
                _ => Self::OtherCurve,
            },
            [0x2b, 0x65, 0x70] => Self::Ed25519,
            [0x2b, 0x65, 0x71] => Self::Ed448,
            _ => Self::Other,
        }
    }

    /// The signatures of TLS 1.2 and 1.3 that a key of this kind can make (RFC 8446, 4.2.3).
    pub(super) fn signatures(self) -> &'static [u16] {
        match self {
            Self::Rsa => &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0201],
            Self::RsaPss => &[0x0809, 0x080a, 0x080b],
            Self::P256 | Self::P384 | Self::P521 | Self::OtherCurve => {
                &[0x0403, 0x0503, 0x0603, 0x0203]
            }
            Self::Ed25519 => &[0x0807],
            Self::Ed448 => &[0x0808],
            Self::Other => &[],
        }
    }

    /// Whether the TLS library asks clients for such a signature. If not, a client with such a key
    /// shows no certificate at all. (The safe interface to AWS-LC has no way to ask for more.)
    pub fn is_asked_for(self) -> bool {
        match self {
            Self::Rsa | Self::P256 | Self::P384 | Self::P521 | Self::OtherCurve => true,
            Self::RsaPss | Self::Ed25519 | Self::Ed448 => !cfg!(feature = "aws-lc"),
            Self::Other => false,
        }
    }
}

/// Identifier and parameters of the public key's algorithm.
fn key_algorithm(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, mut fields, _) = read_tlv(read_tlv(certificate)?.1)?;
    if let (0xa0, _, after) = read_tlv(fields)? {
        fields = after; // the version
    }
    // serial number, signature, issuer, validity, subject (RFC 5280, 4.1)
    for _ in 0..5 {
        fields = read_tlv(fields)?.2;
    }
    let (_, algorithm, _) = read_tlv(read_tlv(fields)?.1)?;
    let (_, oid, parameters) = read_tlv(algorithm)?;
    Some((oid, parameters))
}
