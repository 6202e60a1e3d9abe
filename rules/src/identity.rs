//! Who the peer is: the digest of a certificate, and the facts of a peer certificate as plain
//! values.
//!
//! Nothing here decides anything, and nothing here knows OpenSSL. `tls` copies what the handshake
//! proved into a [`PeerIdentity`] once, and everybody else works on that value.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest as _, Sha1};

use crate::shown::CommonName;

/// SHA-1 digest of a DER-encoded certificate, the form in which Ganeti's candidate map names
/// certificates (`lib/utils/x509.py`, `GetCertificateDigest`, Ganeti 2.11 and later).
///
/// It reads and prints as Ganeti writes it: 20 upper-case hexadecimal pairs joined by colons.
///
/// ```
/// use rules::identity::Digest;
/// let text = "0D:88:AF:32:FE:3F:46:04:1C:1F:FF:48:A2:6C:B6:45:D7:49:68:2D";
/// assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Characters in the printed form: 20 pairs and 19 colons.
    pub const TEXT_LEN: usize = 59;

    /// The digest of a certificate given as DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha1::digest(der).into())
    }

    /// A digest from its 20 bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [b':'; Self::TEXT_LEN];
        for (i, byte) in self.0.iter().enumerate() {
            text[3 * i] = HEX[usize::from(byte >> 4)];
            text[3 * i + 1] = HEX[usize::from(byte & 15)];
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Why a text is not a digest as Ganeti writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not 59 characters.
    #[error("{0} characters, expected 59 (20 hexadecimal pairs joined by colons)")]
    Length(usize),
    /// Lower-case hexadecimal. Ganeti compares digests as text, so it never matches such a line.
    #[error("lower-case hexadecimal, which Ganeti never writes and never matches")]
    LowerCase,
    /// A character that is neither upper-case hexadecimal nor a colon in its place.
    #[error("unexpected character at column {0}")]
    Character(usize),
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Ok(bytes) = <&[u8; Self::TEXT_LEN]>::try_from(text.as_bytes()) else {
            return Err(DigestError::Length(text.len()));
        };
        let (mut digest, mut odd) = ([0; 20], false);
        for (i, byte) in digest.iter_mut().enumerate() {
            let (high, low) = (nibble(bytes[3 * i]), nibble(bytes[3 * i + 1]));
            odd |= (high | low) > 15 || (i > 0 && bytes[3 * i - 1] != b':');
            *byte = high << 4 | low;
        }
        if odd {
            return Err(first_fault(bytes));
        }
        Ok(Self(digest))
    }
}

/// The value of an upper-case hexadecimal digit; more than 15 for any other byte.
const fn nibble(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 16,
    }
}

/// What is wrong with a text of the right length, at its first wrong byte.
fn first_fault(bytes: &[u8; Digest::TEXT_LEN]) -> DigestError {
    let odd = |(at, byte): &(usize, &u8)| match at % 3 {
        2 => **byte != b':',
        _ => nibble(**byte) > 15,
    };
    match bytes.iter().enumerate().find(odd) {
        Some((at, b'a'..=b'f')) if at % 3 != 2 => DigestError::LowerCase,
        found => DigestError::Character(found.map_or(0, |(at, _)| at + 1)),
    }
}

/// What a completed handshake proved: the peer holds the key of this certificate and calls from
/// this address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Where it calls from; never an IPv4 address in IPv6 form.
    pub address: IpAddr,
    /// SHA-1 of [`PeerIdentity::der`].
    pub digest: Digest,
    /// The leaf certificate, DER.
    pub der: Arc<[u8]>,
    /// The subject's common name: the node name in certificates of Ganeti 2.12.5 and later.
    pub common_name: Option<CommonName>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

impl PeerIdentity {
    /// The common name for a log line, `-` when there is none.
    pub fn name(&self) -> &str {
        self.common_name.as_deref().unwrap_or("-")
    }

    /// Shares `der` instead of holding its own copy, if both have the same bytes.
    pub fn share(&mut self, der: &Arc<[u8]>) {
        if self.der == *der {
            self.der = Arc::clone(der);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digest_is_sha1_in_ganetis_form() {
        // FIPS 180-4 example: SHA-1("abc")
        assert_eq!(
            Digest::of_der(b"abc").to_string(),
            "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D"
        );
    }

    #[test]
    fn odd_texts_are_refused_with_the_reason() {
        let good = Digest::from_bytes([0xAB; 20]).to_string();
        let table = [
            (String::new(), DigestError::Length(0)),
            (good.to_lowercase(), DigestError::LowerCase),
            (good.replace(':', ""), DigestError::Length(40)),
            (format!("{good}:"), DigestError::Length(60)),
            (good.replacen(':', "-", 1), DigestError::Character(3)),
            (good.replacen('A', "G", 1), DigestError::Character(1)),
            (good.replacen('B', " ", 1), DigestError::Character(2)),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn digest_text_round_trips(bytes in any::<[u8; 20]>()) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn no_text_panics_and_only_the_printed_form_parses(text in "\\PC{0,70}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
