//! No text makes the map's parser panic, and none admits a certificate that does not stand in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::candidates::{MapFile, parse};

fuzz_target!(|text: &[u8]| {
    match parse(text) {
        MapFile::Listed(map) => {
            assert!(map.entries() > 0);
            for (key, digest) in map.iter() {
                let line = format!("{key}={digest}");
                assert!(
                    text.split(|b| *b == b'\n').any(|l| l == line.as_bytes()),
                    "{line}"
                );
                assert!(map.contains(&digest));
            }
            // What is kept over a restart is the same map.
            assert_eq!(parse(map.to_string().as_bytes()), MapFile::Listed(map));
        }
        MapFile::Empty => assert!(text.iter().all(|b| *b == b'\n')),
        MapFile::Malformed(error) => {
            let lines = text.split(|b| *b == b'\n').count();
            assert!((1..=lines).contains(&error.line), "{error}");
        }
        MapFile::TooLarge => assert!(text.len() > rules::candidates::MAX_BYTES),
        other @ (MapFile::Absent | MapFile::Unreadable(_)) => panic!("text cannot be {other:?}"),
    }
});
