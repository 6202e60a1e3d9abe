//! No file of authorized keys makes the parser panic, and no line with a key is overlooked: each is a
//! key, a bad line, a comment or blank.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::node::ssh::{authorized, keys};

fuzz_target!(|text: &[u8]| {
    let read = authorized::parse(text);
    let lossy = String::from_utf8_lossy(text);
    let lines: Vec<&str> = lossy.split('\n').collect();
    let told: Vec<usize> = read
        .keys
        .iter()
        .map(|one| one.line)
        .chain(read.bad_lines.iter().map(|bad| bad.line))
        .collect();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start_matches([' ', '\t']).trim_end();
        let counts = !line.is_empty() && !line.starts_with('#');
        let is_told = told.contains(&(at + 1));
        assert!(!is_told || counts, "{line}");
        assert!(is_told || !counts || read.bad_lines.len() >= 100, "{line}");
    }
    for one in &read.keys {
        assert!(one.key.fingerprint.starts_with("SHA256:"));
    }
    keys::held(text);
});
