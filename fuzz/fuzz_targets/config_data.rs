//! No `config.data` makes the parser panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::node::config_data;

fuzz_target!(|text: &[u8]| {
    if let Ok(read) = config_data::parse(text) {
        for uuid in read.nodes.keys().chain(read.candidate_certs.keys()) {
            assert!(uuid.len() <= text.len());
        }
    }
});
