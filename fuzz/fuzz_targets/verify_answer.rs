//! Whatever a node answers the master, by its own program or by the script: reading and judging it
//! never panics, and every text of a finding is one line of printable ASCII.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use noded_proxy::verify::told::Told;
use noded_proxy::verify::{Places, answer, observe};
use rules::verify::Allowed;
use rules::verify::cluster::Master;
use rules::verify::observed::Observed;

/// Names that the script's facts have, too.
const DATA: &str = "/var/lib/ganeti";

fn judge(seen: Observed) {
    let master = Master::of(Observed::default());
    for found in master.judge("n1", seen, &Allowed::default()).findings {
        for text in [&found.subject, &found.what] {
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text:?}");
        }
    }
}

fuzz_target!(|text: &[u8]| {
    if let Ok(seen) = answer::read(text) {
        judge(seen);
    }
    if let Ok(told) = Told::parse(text) {
        let data = PathBuf::from(DATA);
        let places = Places {
            server_pem: data.join("server.pem"),
            map: data.join("ssconf_master_candidates_certs"),
            data,
        };
        judge(observe(&told, &places, Some("n1"), 0));
    }
});
