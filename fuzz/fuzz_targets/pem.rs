//! No PEM file makes the program panic, and the digest of a certificate is always that of its bytes.
//!
//! The first byte says what the others are: the file itself, or the DER of a certificate that stands in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::identity::Digest;
use noded_proxy::tls::{Credentials, certificates};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let pem = if kind % 2 == 0 {
        bytes.to_vec()
    } else {
        armor("CERTIFICATE", bytes)
    };
    let found = certificates(&pem);
    if let Ok(list) = &found {
        assert!(!list.is_empty());
        for certificate in list {
            assert_eq!(certificate.digest, Digest::of_der(&certificate.der));
        }
    }
    if let Ok(credentials) = Credentials::from_pem(&pem) {
        let list = found.expect("what makes credentials has certificates");
        assert!(list.contains(&credentials.info()));
    }
});

fn armor(kind: &str, der: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {kind}-----\n").into_bytes();
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b))
                << (8 * (3 - group.len()));
            for at in 0..4 {
                let symbol = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
                text.push(if at <= group.len() { symbol } else { b'=' });
            }
        }
        text.push(b'\n');
    }
    text.extend_from_slice(format!("-----END {kind}-----\n").as_bytes());
    text
}
