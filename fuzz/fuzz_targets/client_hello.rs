//! No first flight makes the look into it panic, and cutting it short never makes it say more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::tls::accepts_p256;

fuzz_target!(|bytes: &[u8]| {
    let whole = accepts_p256(bytes);
    let half = accepts_p256(&bytes[..bytes.len() / 2]);
    assert!(whole || !half);
});
