//! What two ends of this program say to each other inside TLS: frames and messages. Pure.
//!
//! The peer has proved who it is, and is believed in nothing else: a frame that is too long, unknown
//! or out of place is a fault, and a text of the peer is only ever shown.
//!
//! | kind | then | what it is |
//! | --- | --- | --- |
//! | `D` | length, 4 bytes; bytes | a part of the stream |
//! | `Z` | length, 8 bytes | so many zero bytes of the stream |
//! | `E` | length, 8 bytes; SHA-256 | the end: of the whole stream, and of all frames before |
//! | `M` | length, 4 bytes; JSON | a [`Message`] |

use serde::{Deserialize, Serialize};

/// The name on which both ends agree, in the form of ALPN.
pub(crate) const PROTOCOL: &[u8] = b"\x12noded-proxy-move/1";

/// Longest part of a stream in one frame.
pub const LONGEST: usize = 1 << 20;

/// Longest message.
const MESSAGE: usize = 4096;

/// Bytes of the longest head.
pub const HEAD: usize = 41;

/// The start of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// So many bytes of the stream follow.
    Data(usize),
    /// So many bytes of the stream are zero.
    Zeros(u64),
    /// The stream is whole.
    End(Trailer),
    /// A message of so many bytes follows.
    Message(usize),
}

/// What the sender says about the whole stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Its length.
    pub length: u64,
    /// SHA-256 of all frames of data and zeros.
    pub hash: [u8; 32],
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No such kind.
    #[error("a frame of unknown kind {0:#04x}")]
    Kind(u8),
    /// Too much, or nothing.
    #[error("a frame of {0} bytes")]
    Length(u64),
    /// No message of this program.
    #[error("a message that cannot be read")]
    Message,
}

impl Head {
    /// The start of a frame, and how many bytes it has; nothing while bytes are missing.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let short = rest.first_chunk().map(|four| u32::from_be_bytes(*four));
        let long = rest.first_chunk().map(|eight| u64::from_be_bytes(*eight));
        Ok(match kind {
            b'D' => match short {
                Some(length) => Some((Self::Data(bounded(length, LONGEST)?), 5)),
                None => None,
            },
            b'M' => match short {
                Some(length) => Some((Self::Message(bounded(length, MESSAGE)?), 5)),
                None => None,
            },
            b'Z' => match long {
                Some(0) => return Err(Malformed::Length(0)),
                Some(run) => Some((Self::Zeros(run), 9)),
                None => None,
            },
            b'E' => {
                let hash = rest.get(8..).and_then(|rest| rest.first_chunk());
                let trailer = long.zip(hash).map(|(length, hash)| Trailer {
                    length,
                    hash: *hash,
                });
                trailer.map(|trailer| (Self::End(trailer), HEAD))
            }
            kind => return Err(Malformed::Kind(*kind)),
        })
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        let short = |kind, length: usize| {
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            [&[kind][..], &length.to_be_bytes()].concat()
        };
        match self {
            Self::Data(length) => short(b'D', length),
            Self::Message(length) => short(b'M', length),
            Self::Zeros(run) => [&b"Z"[..], &run.to_be_bytes()].concat(),
            Self::End(end) => [&b"E"[..], &end.length.to_be_bytes(), &end.hash].concat(),
        }
    }
}

fn bounded(length: u32, most: usize) -> Result<usize, Malformed> {
    match length as usize {
        length if (1..=most).contains(&length) => Ok(length),
        _ => Err(Malformed::Length(length.into())),
    }
}

/// What the ends tell each other beside the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Message {
    /// The exporter's first word.
    Hello {
        /// The word that Ganeti gave both ends.
        magic: Option<String>,
        /// How the stream is compressed, in the importer's words.
        compress: String,
    },
    /// The importer wants the stream.
    Go,
    /// The importer does not want it; or it did not get it, or its command failed. Why.
    Failed(String),
    /// The importer's command has taken all of it.
    Taken,
}

impl Message {
    /// As a frame. A reason is cut to what fits.
    pub fn frame(&self) -> Vec<u8> {
        let short = |text: &String| text.chars().take(400).collect();
        let message = match self {
            Self::Failed(why) => Self::Failed(short(why)),
            other => other.clone(),
        };
        let text = serde_json::to_vec(&message).unwrap_or_default();
        [Head::Message(text.len()).bytes(), text].concat()
    }

    /// From the bytes behind the head.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(text).map_err(|_| Malformed::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_frame_as_a_table() {
        let long = [b"D".as_slice(), &(LONGEST as u32 + 1).to_be_bytes()].concat();
        for (bytes, fault) in [
            (&b"X"[..], Malformed::Kind(b'X')),
            (b"D\0\0\0\0", Malformed::Length(0)),
            (b"M\0\0\x10\x01", Malformed::Length(4097)),
            (b"Z\0\0\0\0\0\0\0\0", Malformed::Length(0)),
            (&long, Malformed::Length(LONGEST as u64 + 1)),
        ] {
            assert_eq!(Head::parse(bytes), Err(fault), "{bytes:?}");
        }
        for bytes in [&b""[..], b"D", b"D\0\0\0", b"Z\0\0\0\0\0\0\0", b"M\0"] {
            assert_eq!(Head::parse(bytes), Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_comes_back_and_a_reason_is_cut() {
        let hello = Message::Hello {
            magic: Some("abcde".into()),
            compress: "none".into(),
        };
        for message in [
            hello,
            Message::Go,
            Message::Failed("disk full".into()),
            Message::Taken,
        ] {
            assert_eq!(Message::parse(&message.frame()[5..]), Ok(message));
        }
        let frame = Message::Failed("\u{1}".repeat(5000)).frame();
        assert!(
            matches!(Head::parse(&frame), Ok(Some((Head::Message(n), 5))) if n == frame.len() - 5)
        );
        assert_eq!(Message::parse(b"{}"), Err(Malformed::Message));
    }

    fn head() -> impl Strategy<Value = Head> {
        let trailer = |(length, hash)| Head::End(Trailer { length, hash });
        prop_oneof![
            (1..=LONGEST).prop_map(Head::Data),
            (1..=MESSAGE).prop_map(Head::Message),
            (1..=u64::MAX).prop_map(Head::Zeros),
            any::<(u64, [u8; 32])>().prop_map(trailer),
        ]
    }

    proptest! {
        #[test]
        fn a_head_comes_back_and_its_parts_are_none(head in head(), more in any::<Vec<u8>>()) {
            let bytes = head.bytes();
            for cut in 0..bytes.len() {
                prop_assert_eq!(Head::parse(&bytes[..cut]), Ok(None));
            }
            let all = [&bytes[..], &more].concat();
            prop_assert_eq!(Head::parse(&all), Ok(Some((head, bytes.len()))));
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = Head::parse(&bytes);
            let _ = Message::parse(&bytes);
        }
    }
}
