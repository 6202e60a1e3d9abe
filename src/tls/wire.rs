//! The messages of a TLS 1.2 client, as far as a rehearsal needs them. Pure: bytes in, bytes out.
//!
//! It is no TLS library: nothing here is ever sent to a network.

use bytes::{Buf, BufMut};

const HANDSHAKE: u8 = 22;
const TLS_1_2: u16 = 0x0303;
/// Longest content of a record (RFC 5246, 6.2.1).
const RECORD: usize = 1 << 14;

const CLIENT_HELLO: u8 = 1;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// ECDHE with AES-GCM or ChaCha20, for servers with ECDSA and RSA keys.
const CIPHERS: [u16; 6] = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
/// X25519 for the key exchange; P-256, P-384 and P-521 so that certificates on them can be shown.
const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];
/// What the client can verify of the server: all that a `server.pem` may sign with.
const SIGNATURES: [u16; 12] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x0401, 0x0501, 0x0601, 0x0807, 0x0201,
];

/// What the server says before it waits for the client's certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// The signatures that it accepts from a client.
    pub(super) signatures: Vec<u16>,
}

impl Flight {
    /// Reads the records that the server has sent. `None` if it asks for no certificate.
    pub(super) fn read(mut records: &[u8]) -> Option<Self> {
        let mut messages = Vec::new();
        while records.try_get_u8() == Ok(HANDSHAKE) {
            records.try_get_u16().ok()?;
            messages.extend_from_slice(take(&mut records, 2)?);
        }
        let mut messages = &messages[..];
        while let Ok(kind) = messages.try_get_u8() {
            let mut message = take(&mut messages, 3)?;
            if kind == CERTIFICATE_REQUEST {
                take(&mut message, 1)?; // types of certificates (RFC 5246, 7.4.4)
                let mut list = take(&mut message, 2)?;
                let mut signatures = Vec::new();
                while let Ok(signature) = list.try_get_u16() {
                    signatures.push(signature);
                }
                return Some(Self { signatures });
            }
        }
        None
    }
}

/// The first message.
pub(super) fn client_hello() -> Vec<u8> {
    let numbers = |list: &[u16]| {
        vector(
            2,
            &list
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect::<Vec<_>>(),
        )
    };
    let extension =
        |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &vector(2, content)].concat();
    let extensions = [
        extension(10, &numbers(&GROUPS)),
        extension(11, &vector(1, &[0])), // points are not compressed
        extension(13, &numbers(&SIGNATURES)),
        extension(0xff01, &vector(1, &[])), // no renegotiation yet (RFC 5746)
    ];
    let body = [
        &TLS_1_2.to_be_bytes()[..],
        &[0x5a; 32],     // not random: there is no secret to keep
        &vector(1, &[]), // no session
        &numbers(&CIPHERS),
        &vector(1, &[0]), // no compression
        &vector(2, &extensions.concat()),
    ];
    records(&message(CLIENT_HELLO, &body.concat()))
}

/// The certificate, half of a key exchange, and a signature of zeros that is said to be of this
/// kind.
pub(super) fn client_flight(certificate: &[u8], signature: u16) -> Vec<u8> {
    let mut point = [0; 32];
    point[0] = 9; // the base point of X25519 (RFC 7748, 4.1)
    let verify = [&signature.to_be_bytes()[..], &vector(2, &[0; 64])].concat();
    let messages = [
        message(CERTIFICATE, &vector(3, &vector(3, certificate))),
        message(CLIENT_KEY_EXCHANGE, &vector(1, &point)),
        message(CERTIFICATE_VERIFY, &verify),
    ];
    records(&messages.concat())
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector(3, content)].concat()
}

fn records(messages: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    for piece in messages.chunks(RECORD) {
        records.put_u8(HANDSHAKE);
        records.put_u16(TLS_1_2);
        records.put_slice(&vector(2, piece));
    }
    records
}

/// Bytes behind their length, which has `width` bytes. What is too long for that is cut.
fn vector(width: usize, content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min((1 << (8 * width)) - 1)];
    let mut vector = Vec::with_capacity(width + content.len());
    vector.put_uint(content.len() as u64, width);
    vector.extend_from_slice(content);
    vector
}

/// Takes a vector off the front. Its length comes first, in `width` bytes (RFC 8446, 3.4).
pub(super) fn take<'a>(from: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = usize::try_from(from.try_get_uint(width).ok()?).ok()?;
    let (vector, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(vector)
}
