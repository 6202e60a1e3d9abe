//! Whatever a verified peer sends in the middle of a transfer: reading its frames and messages never
//! panics, and no length is beyond its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::moves::frame::{HEAD, Head, LONGEST, Message};
use noded_proxy::moves::shell::Sink;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((head, used))) = Head::parse(rest) {
        assert!(used <= HEAD && head.bytes() == rest[..used]);
        rest = &rest[used..];
        let body = match head {
            Head::Data(length) => length,
            Head::Message(length) => length,
            Head::Zeros(_) | Head::End(_) => 0,
        };
        assert!(body <= LONGEST);
        let Some((body, behind)) = rest.split_at_checked(body) else {
            break;
        };
        if let (Head::Message(_), Ok(message)) = (head, Message::parse(body)) {
            assert!(message.frame().len() <= 5 + 4096);
        }
        rest = behind;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Sink::parse(Some(text));
    }
});
