//! A key, named as `ssh-keygen -l` names it. Nothing else of a key is needed to compare it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const HEAD: &str = "SHA256:";
/// 32 bytes in base64, without the padding.
const LENGTH: usize = 43;

/// `SHA256:` and 43 characters of base64, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Box<str>);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected SHA256: and 43 characters of base64")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let body = text.strip_prefix(HEAD).ok_or(NoFingerprint)?;
        let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        match body.len() == LENGTH && body.bytes().all(is_base64) {
            true => Ok(Self(text.into())),
            false => Err(NoFingerprint),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NoFingerprint;

    fn try_from(text: String) -> Result<Self, NoFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(key: Fingerprint) -> Self {
        key.0.into()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_as_a_table() {
        let body = "ueKC2KIwGkch/Siv3qLgNQMgR/o1ndwmxRgX+14Gsqc";
        for (text, good) in [
            (format!("SHA256:{body}"), true),
            (format!("SHA256:{body}="), false),
            (format!("SHA256:{}", &body[1..]), false),
            (format!("MD5:{body}"), false),
            (format!("SHA256:{}\u{1b}", &body[1..]), false),
            (format!(" SHA256:{body}"), false),
            (String::new(), false),
        ] {
            let read: Result<Fingerprint, _> = text.parse();
            assert_eq!(read.is_ok(), good, "{text}");
            if let Ok(read) = read {
                assert_eq!(read.to_string(), text);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_inert(text in "\\PC*|SHA256:[ -~]{43}") {
            let json = serde_json::to_string(&text).unwrap();
            if let Ok(key) = serde_json::from_str::<Fingerprint>(&json) {
                prop_assert_eq!(key.to_string(), text.clone());
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
