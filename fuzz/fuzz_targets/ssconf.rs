//! No text of an ssconf file makes the parsers panic; a faulty one changes nothing, the same text says
//! the same again, and no name has in it what a terminal obeys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::node::ssconf::{FILES, Ssconf};

fuzz_target!(|texts: &str| {
    let mut ssconf = Ssconf::default();
    // One text for each file in turn, and then again, so that one comes upon what another one said.
    for (text, name) in texts.split('\0').zip(FILES.into_iter().cycle()) {
        let before = ssconf.clone();
        match ssconf.take(name, text) {
            Err(_) => assert_eq!(ssconf, before, "{name}: {text}"),
            Ok(()) => {
                let once = ssconf.clone();
                assert_eq!(ssconf.take(name, text), Ok(()));
                assert_eq!(ssconf, once, "{name}: {text}");
            }
        }
    }
    for name in ssconf.names_of("host") {
        assert!(name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic()), "{name}");
    }
});
