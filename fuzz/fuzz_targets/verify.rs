//! Whatever was read of a node, judging it never panics, and every text of a finding is one line of
//! printable ASCII.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::verify::observed::Observed;
use rules::verify::{Allowed, judge};

fuzz_target!(|text: &[u8]| {
    let Ok(seen) = serde_json::from_slice::<Observed>(text) else {
        return;
    };
    for found in judge(&seen, &Allowed::default()) {
        for text in [&found.subject, &found.what] {
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text:?}");
        }
    }
});
