use super::*;
use proptest::prelude::*;

const A: &str = "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA";
const B: &str = "BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB";

fn listed(text: &str) -> CandidateMap {
    match parse(text.as_bytes()) {
        MapFile::Listed(map) => map,
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn what_ganeti_writes_is_read() {
    let map = listed(&format!("uuid-1={A}\nuuid-2={B}\n"));
    assert_eq!(map.entries(), 2);
    assert_eq!(map.key_of(&A.parse().unwrap()), Some("uuid-1"));
    assert_eq!(map.key_of(&B.parse().unwrap()), Some("uuid-2"));
    assert_eq!(map.key_of(&Digest::from_bytes([0; 20])), None);
    // renew-crypto: one opaque key, no newline at the end
    assert_eq!(listed(&format!("bootstrap={A}")).entries(), 1);
    assert_eq!(map.to_string(), format!("uuid-1={A}\nuuid-2={B}\n"));
}

#[test]
fn one_certificate_under_two_keys_is_admitted_once() {
    let map = listed(&format!("bootstrap={A}\nuuid-1={A}\n"));
    assert_eq!(
        (map.entries(), map.key_of(&A.parse().unwrap())),
        (1, Some("bootstrap"))
    );
}

#[test]
fn nothing_but_newlines_is_empty() {
    for text in ["", "\n", "\n\n\n"] {
        assert_eq!(parse(text.as_bytes()), MapFile::Empty, "{text:?}");
    }
}

#[test]
fn one_bad_line_spoils_the_file() {
    use LineFault::*;
    let good = format!("u1={A}\n");
    // what a reader sees while scp writes a short file over a long one in place
    let torn = format!("{good}bootstrap={B}AA:AA:AA:AA:AA:AA:AA:AA:AA\n");
    let table: [(Vec<u8>, usize, LineFault); 13] = [
        (format!("{good}\nu2={B}").into(), 2, Blank),
        (format!("\n{good}").into(), 1, Blank),
        (format!("{good}u2\n").into(), 2, NotAPair),
        (format!("u1=x={A}\n").into(), 1, NotAPair),
        (format!("={A}\n").into(), 1, Key),
        (format!("{}={A}\n", "k".repeat(257)).into(), 1, Key),
        (
            format!("{good}u2={}", &B[..40]).into(),
            2,
            Digest(DigestError::Length(40)),
        ),
        (
            format!("u1={}", A.to_lowercase()).into(),
            1,
            Digest(DigestError::LowerCase),
        ),
        (format!("u1={A}\r\n").into(), 1, NotText),
        (format!("u\u{2028}1={A}\n").into(), 1, NotText),
        (format!("u\u{2029}1={A}\n").into(), 1, NotText),
        (format!("{good}u1={B}\n").into(), 2, Repeated),
        (torn.into(), 2, Digest(DigestError::Length(85))),
    ];
    for (text, line, fault) in table {
        let expected = MapFile::Malformed(MapError { line, fault });
        assert_eq!(parse(&text), expected, "{}", String::from_utf8_lossy(&text));
    }
    assert!(matches!(parse(b"u1=\xff"), MapFile::Malformed(_)));
    assert_eq!(parse(&vec![b'x'; MAX_BYTES + 1]), MapFile::TooLarge);
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_admit_what_they_do_not_list(
        text in proptest::collection::vec(any::<u8>(), 0..400), digest in any::<[u8; 20]>(),
    ) {
        if let MapFile::Listed(map) = parse(&text) {
            let printed = Digest::from_bytes(digest).to_string();
            let stands_there = text.windows(Digest::TEXT_LEN).any(|w| w == printed.as_bytes());
            prop_assert!(stands_there || !map.contains(&Digest::from_bytes(digest)));
        }
    }

    #[test]
    fn every_cut_of_a_map_is_a_fault_or_whole_lines(cut in 0usize..196) {
        let text = format!("uuid-1={A}\nuuid-2={B}\nuuid-3={A}");
        let cut = &text.as_bytes()[..cut.min(text.len())];
        if let MapFile::Listed(map) = parse(cut) {
            prop_assert!(map.entries() <= 2);
            prop_assert!(cut.len() >= 66);
        }
    }

    #[test]
    fn printed_maps_read_back(
        list in proptest::collection::btree_map("[a-z0-9-]{1,40}", any::<[u8; 20]>(), 1..40),
    ) {
        let text: String = list.iter()
            .map(|(key, digest)| format!("{key}={}\n", Digest::from_bytes(*digest))).collect();
        let map = listed(&text);
        for digest in list.values() {
            prop_assert!(map.contains(&Digest::from_bytes(*digest)));
        }
        prop_assert_eq!(parse(map.to_string().as_bytes()), MapFile::Listed(map));
    }
}
