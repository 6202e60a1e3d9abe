//! What must be known of a ClientHello before the TLS library reads it. Pure: it reads bytes, and
//! it never refuses a client.

use bytes::Buf;

use super::wire::take;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const SECP256R1: u16 = 0x0017;
/// Longest content of a record (RFC 8446, 5.1).
const LONGEST_RECORD: usize = 1 << 14;

/// True if a TLS 1.2 client lists secp256r1 in supported_groups, and so can verify a P-256
/// certificate (RFC 8422, 5.1.1). AWS-LC does not check this. `received` is the start of the
/// connection; anything but a complete ClientHello gives false.
pub fn accepts_p256(received: &[u8]) -> bool {
    let list = content_of(received, SUPPORTED_GROUPS);
    let Some(mut groups) = list.and_then(|mut content| take(&mut content, 2)) else {
        return false;
    };
    while let Ok(group) = groups.try_get_u16() {
        if group == SECP256R1 {
            return true;
        }
    }
    false
}

/// Whether the client offers this protocol (RFC 7301, 3.1), `received` as before. `protocol` has its
/// length before the name, as on the wire.
pub(crate) fn offers(received: &[u8], protocol: &[u8]) -> bool {
    let list = content_of(received, ALPN);
    let Some(mut names) = list.and_then(|mut content| take(&mut content, 2)) else {
        return false;
    };
    while let Some(name) = take(&mut names, 1) {
        if protocol.get(1..) == Some(name) {
            return true;
        }
    }
    false
}

/// Whether no more is needed to tell what is in the first record: it is whole, or none of a
/// ClientHello.
pub(crate) fn is_enough(received: &[u8]) -> bool {
    match received {
        [HANDSHAKE, _, _, high, low, content @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            length > LONGEST_RECORD || content.len() >= length
        }
        [first, ..] => *first != HANDSHAKE,
        [] => false,
    }
}

/// What is in an extension, if the first record holds a whole ClientHello that has it.
fn content_of(mut received: &[u8], wanted: u16) -> Option<&[u8]> {
    // TLSPlaintext (RFC 8446, 5.1): type, version, fragment
    (received.try_get_u8() == Ok(HANDSHAKE)).then_some(())?;
    received.try_get_u16().ok()?;
    let mut record = take(&mut received, 2)?;
    (record.try_get_u8() == Ok(CLIENT_HELLO)).then_some(())?;
    let mut hello = take(&mut record, 3)?;
    // ClientHello (RFC 8446, 4.1.2): version and random, session id, ciphers, compression methods
    hello = hello.get(2 + 32..)?;
    take(&mut hello, 1)?;
    take(&mut hello, 2)?;
    take(&mut hello, 1)?;
    let mut extensions = take(&mut hello, 2)?;
    loop {
        let kind = extensions.try_get_u16().ok()?;
        let content = take(&mut extensions, 2)?;
        if kind == wanted {
            return Some(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A vector behind its length, which has `width` bytes.
    fn framed(width: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - width..], content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &framed(2, content)].concat()
    }

    fn groups(groups: &[u16]) -> Vec<u8> {
        let list: Vec<u8> = groups.iter().flat_map(|g| g.to_be_bytes()).collect();
        extension(SUPPORTED_GROUPS, &framed(2, &list))
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &framed(1, b"session"),
            &framed(2, &[0x13, 1, 0xc0, 0x2b]),
            &framed(1, &[0]),
            &framed(2, extensions),
        ];
        let message = [&[CLIENT_HELLO][..], &framed(3, &body.concat())].concat();
        [&[HANDSHAKE, 3, 1][..], &framed(2, &message)].concat()
    }

    #[test]
    fn the_groups_decide() {
        let name = extension(0, b"\0\x03\0\0\0");
        let table = [
            (hello(&groups(&[0x1d, 0x17, 0x18])), true),
            (hello(&[&name[..], &groups(&[0x17])].concat()), true),
            (hello(&groups(&[0x1d, 0x18])), false),
            (hello(&groups(&[])), false),
            (hello(&groups(&[0x1700, 0x1d17])), false),
            (hello(&name), false),
            (hello(&[]), false),
            (hello(&extension(11, &framed(2, &[0, 0x17]))), false),
            (b"POST /version HTTP/1.1\r\n\r\n".to_vec(), false),
            (Vec::new(), false),
        ];
        for (flight, expected) in table {
            assert_eq!(accepts_p256(&flight), expected, "{flight:02x?}");
            // Bytes after the ClientHello do not matter.
            assert_eq!(accepts_p256(&[&flight[..], b"more"].concat()), expected);
        }
    }

    #[test]
    fn the_protocols_that_are_offered() {
        let names = |names: &[&[u8]]| {
            let list: Vec<u8> = names.iter().flat_map(|name| framed(1, name)).collect();
            extension(ALPN, &framed(2, &list))
        };
        let groups = groups(&[0x17]);
        for (extensions, offered) in [
            (names(&[b"move"]), true),
            ([&groups[..], &names(&[b"h2", b"move"])].concat(), true),
            (names(&[b"moves"]), false),
            (names(&[b"mov", b"e"]), false),
            (names(&[b"", b"h2"]), false),
            (names(&[]), false),
            (groups.clone(), false),
            (extension(ALPN, b"move"), false),
            (vec![], false),
        ] {
            let flight = hello(&extensions);
            assert_eq!(offers(&flight, b"\x04move"), offered, "{extensions:?}");
            assert!(!offers(&flight[..flight.len() - 1], b"\x04move"));
        }
    }

    #[test]
    fn a_record_is_waited_for_as_long_as_it_may_be_a_clienthello() {
        let flight = hello(&groups(&[0x17]));
        for cut in 0..flight.len() {
            assert!(!is_enough(&flight[..cut]), "{cut}");
        }
        assert!(is_enough(&flight) && is_enough(&[&flight[..], b"more"].concat()));
        assert!(is_enough(b"P") && is_enough(&[23]));
        let longest = [HANDSHAKE, 3, 1, 0x40, 0];
        let longer = [HANDSHAKE, 3, 1, 0x40, 1];
        assert!(!is_enough(&longest) && is_enough(&longer));
    }

    #[test]
    fn real_clients_take_it() {
        for flight in [
            &include_bytes!("../../fuzz/seeds/client_hello/openssl")[..],
            include_bytes!("../../fuzz/seeds/client_hello/openssl-tls12"),
            include_bytes!("../../fuzz/seeds/client_hello/gnutls"),
        ] {
            assert!(accepts_p256(flight));
        }
    }

    #[test]
    fn what_is_not_whole_says_nothing() {
        let flight = hello(&[groups(&[0x17]), extension(0xff, &[1; 9])].concat());
        assert!(accepts_p256(&flight));
        for cut in 0..flight.len() {
            assert!(!accepts_p256(&flight[..cut]), "{cut}");
        }
    }

    #[test]
    fn other_messages_say_nothing() {
        let flight = hello(&groups(&[0x17]));
        for (at, other) in [(0, 23), (5, 2)] {
            let mut flight = flight.clone();
            flight[at] = other;
            assert!(!accepts_p256(&flight), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            accepts_p256(&bytes);
            offers(&bytes, b"\x04move");
            is_enough(&bytes);
            let mut flight = hello(&[groups(&[0x17]), bytes].concat());
            let at = at.index(flight.len());
            flight[at] = byte;
            accepts_p256(&flight);
            offers(&flight, b"\x04move");
        }

        #[test]
        fn it_is_found_wherever_it_stands(
            before in prop::collection::vec(any::<u16>(), 0..30),
            after in prop::collection::vec(any::<u16>(), 0..30),
        ) {
            let all = [&before[..], &[SECP256R1], &after].concat();
            prop_assert!(accepts_p256(&hello(&groups(&all))));
            let others: Vec<u16> = all.into_iter().filter(|group| *group != SECP256R1).collect();
            prop_assert!(!accepts_p256(&hello(&groups(&others))));
        }
    }
}
