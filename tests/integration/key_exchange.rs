//! Which group the keys of a TLS 1.3 connection are agreed on with.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use openssl::ssl::Ssl;

use crate::handshake::proxy_for;
use crate::support::client::{Tls, ask_with, context, tcp};
use crate::support::pki::Pki;

/// Groups by their numbers on the wire (RFC 8446, 4.2.7; draft-ietf-tls-ecdhe-mlkem).
const X25519MLKEM768: u16 = 0x11ec;
const X25519: u16 = 0x001d;
const P256: u16 = 0x0017;
const P384: u16 = 0x0018;

/// A connection that keeps what came from the server.
#[derive(Debug)]
struct Recorder {
    tcp: TcpStream,
    received: Vec<u8>,
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tcp.read(buffer)?;
        self.received.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

fn number(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The group in the last ServerHello, behind which everything is encrypted. There are two after a
/// HelloRetryRequest.
fn chosen(mut records: &[u8]) -> u16 {
    let mut found = None;
    while let [kind, _, _, rest @ ..] = records {
        let (record, after) = rest[2..].split_at(number(rest));
        if *kind == 22 && record[0] == 2 {
            // type, length<3>, version<2>, random<32>, session, cipher<2>, compression<1>
            let rest = &record[4 + 2 + 32..];
            let mut extensions = &rest[1 + usize::from(rest[0]) + 3 + 2..];
            while !extensions.is_empty() {
                let length = number(&extensions[2..]);
                if number(extensions) == 51 {
                    found = Some(number(&extensions[4..]) as u16);
                }
                extensions = &extensions[4 + length..];
            }
        }
        records = after;
    }
    found.expect("a ServerHello with a key share")
}

#[test]
fn the_quantum_safe_group_is_preferred_and_the_others_stay() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let table = [
        ("X25519MLKEM768", X25519MLKEM768),
        ("X25519MLKEM768:X25519", X25519MLKEM768),
        ("X25519:P-256", X25519),
        ("P-256", P256),
        ("P-384", P384),
    ];
    // AWS-LC goes by the server's order. OpenSSL takes what spares a round trip.
    let servers_order = [
        ("X25519:X25519MLKEM768", X25519MLKEM768),
        ("P-256:X25519", X25519),
    ];
    let of_aws_lc = servers_order.iter().filter(|_| cfg!(feature = "aws-lc"));
    for (groups, expected) in table.iter().chain(of_aws_lc).copied() {
        let mut settings = context(Some(&node), Tls::V13);
        let known = settings.set_groups_list(groups);
        if cfg!(not(feature = "aws-lc")) && known.is_err() {
            continue; // OpenSSL before 3.5
        }
        known.unwrap();
        let recorder = Recorder {
            tcp: tcp(proxy.addr()).unwrap(),
            received: Vec::new(),
        };
        let ssl = Ssl::new(&settings.build()).unwrap();
        let mut stream = ssl.connect(recorder).unwrap();
        ask_with(&mut stream);
        assert_eq!(chosen(&stream.get_ref().received), expected, "{groups}");
    }
}
