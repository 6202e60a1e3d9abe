//! No `ganeti_pub_keys` makes the parser panic, and each key in it has a UUID and stands in a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::node::rapi;
use noded_proxy::node::ssh::{pub_keys, sshd};

fuzz_target!(|text: &[u8]| {
    let read = pub_keys::parse(text);
    let lossy = String::from_utf8_lossy(text);
    let lines = lossy.lines().filter(|line| !line.trim().is_empty());
    let told = read.keys.len() + read.bad_lines.len();
    assert!(told <= lines.count());
    for (uuid, key) in &read.keys {
        assert!(!uuid.is_empty() && key.fingerprint.starts_with("SHA256:"));
        assert!(lossy.contains(uuid.as_str()));
    }
    let _ = (rapi::users(text), sshd::elsewhere(text));
});
