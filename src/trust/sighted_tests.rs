use super::*;
use proptest::prelude::*;
use rules::admission::Nobody;
use rules::candidates::{MapFile, parse};
use rules::identity::PeerIdentity;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;

fn peer(digest: u8) -> PeerIdentity {
    PeerIdentity {
        address: IpAddr::from([192, 0, 2, digest]),
        digest: Digest::from_bytes([digest; 20]),
        der: Arc::from([]),
        common_name: Some("n1".into()),
        not_before: 0,
        not_after: 0,
    }
}

fn load(dir: &Path) -> (SightingsFile, Sightings) {
    let sightings = Sightings::default();
    (SightingsFile::load(dir, true, &sightings), sightings)
}

/// The map of a cluster whose candidates have these certificates.
fn map(digests: &[u8]) -> Admission {
    let lines = digests
        .iter()
        .map(|n| format!("k{n}={}\n", peer(*n).digest));
    match parse(lines.collect::<String>().as_bytes()) {
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_two_nodes_used_outlives_the_process_and_is_written_once_for_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let (path, map) = (dir.path().join(NAME), map(&[1]));
    let (mut file, sightings) = load(dir.path());
    let mut keep = || file.keep(&sightings, &map, Mode::Enforce);
    keep();
    assert!(!path.exists(), "nothing was seen");
    sightings.saw(&peer(1), Some("n1"));
    sightings.saw(&peer(1), Some("n2"));
    keep();
    assert_eq!(load(dir.path()).1.all(), sightings.all());
    assert_eq!(load(dir.path()).1.shared().len(), 1);
    let before = fs::metadata(&path).unwrap().ino();
    sightings.saw(&peer(1), Some("n2"));
    keep();
    let after = fs::metadata(&path).unwrap().ino();
    assert_eq!(before, after, "no node more, nothing to write");
    fs::remove_file(&path).unwrap();
    keep();
    assert_eq!(load(dir.path()).1.all(), sightings.all(), "it was removed");
}

#[test]
fn what_has_left_the_map_is_forgotten_and_what_audit_mode_admits_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, sightings) = load(dir.path());
    let kept = || load(dir.path()).1.all().into_keys().collect::<Vec<_>>();
    let known = || sightings.all().into_keys().collect::<Vec<_>>();
    let digests = [1, 2, 3].map(|n| peer(n).digest);
    for n in [1, 2, 3] {
        sightings.saw(&peer(n), Some("n1"));
    }
    let none = Admission::Nobody(Nobody::NotInCluster);
    file.keep(&sightings, &none, Mode::Enforce);
    assert_eq!((kept(), known()), (digests.to_vec(), digests.to_vec()));
    sightings.saw(&peer(3), Some("n2"));
    file.keep(&sightings, &map(&[1, 2]), Mode::Audit);
    assert_eq!((kept(), known()), (digests[..2].to_vec(), digests.to_vec()));
    file.keep(&sightings, &map(&[2]), Mode::Enforce);
    assert_eq!((kept(), known()), (vec![digests[1]], vec![digests[1]]));
}

#[test]
fn what_cannot_be_written_is_a_fault_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (mut file, sightings) = load(&path);
    sightings.saw(&peer(1), Some("n1"));
    for _ in 0..2 {
        file.keep(&sightings, &map(&[1]), Mode::Enforce);
        let told = file.fault().unwrap().to_string();
        assert!(told.contains("state/sightings"), "{told}");
    }
    fs::create_dir(&path).unwrap();
    file.keep(&sightings, &map(&[1]), Mode::Enforce);
    assert_eq!(file.fault(), None);
    assert!(load(&path).1.of(&peer(1).digest).is_some());
}

#[test]
fn a_damaged_file_is_written_anew_with_what_can_be_read_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let sightings = Sightings::default();
    sightings.saw(&peer(1), Some("n1"));
    let good = encode(sightings.all());
    let damaged = [
        (format!("{good}{{\"digest\": \n"), 1),
        (format!("{good}{}", "x".repeat(MAX_BYTES)), 0),
        ("\0not\nours".into(), 0),
        (String::new(), 0),
    ];
    for (content, left) in damaged {
        fs::write(&path, content).unwrap();
        let (mut file, sightings) = load(dir.path());
        assert_eq!(sightings.all().len(), left);
        file.keep(&sightings, &map(&[1]), Mode::Enforce);
        assert_eq!(fs::read_to_string(&path).unwrap(), encode(sightings.all()));
    }
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    let (mut file, sightings) = load(dir.path());
    file.keep(&sightings, &map(&[1]), Mode::Enforce);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEAD}\n"));
    assert!(!path.is_symlink(), "what it named is left alone");
}

#[test]
fn whoever_does_not_own_the_directory_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sightings = Sightings::default();
    let mut file = SightingsFile::load(dir.path(), false, &sightings);
    sightings.saw(&peer(1), Some("n1"));
    file.keep(&sightings, &map(&[1]), Mode::Enforce);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_line_that_is_none_voids_itself_alone_and_nothing_was_seen_in_the_future() {
    let sightings = Sightings::default();
    sightings.saw(&peer(1), Some("n1"));
    sightings.saw(&peer(2), Some("n2"));
    let text = encode(sightings.all());
    let sly = text.replace("[\"n1\"]", "[\"n\\u001b[2J\"]");
    let long = text.replace("[\"n1\"]", &format!("[\"{}\"]", "n".repeat(256)));
    let many: Vec<String> = (0..=MOST_NODES).map(|n| format!("n{n}")).collect();
    let many = text.replace("[\"n1\"]", &serde_json::to_string(&many).unwrap());
    for text in [sly, long, many, text.replacen("01:01", "01:0", 1)] {
        let (all, left_out) = decode(text.as_bytes(), 7);
        assert_eq!((all.len(), left_out), (1, 1), "{text}");
        assert!(all.values().all(|seen| seen.last_seen == 7));
    }
    assert_eq!(decode(b"", 7), (All::new(), 1));
}

#[test]
fn no_more_is_read_than_what_is_remembered() {
    let sightings = Sightings::default();
    sightings.saw(&peer(1), Some("n1"));
    let seen = sightings.of(&peer(1).digest).unwrap();
    let digest = |n: usize| {
        let [low, high, ..] = n.to_le_bytes();
        let mut bytes = [low; 20];
        bytes[0] = high;
        Digest::from_bytes(bytes)
    };
    let all = (0..MOST + 2).map(|n| (digest(n), seen.clone())).collect();
    let (all, left_out) = decode(encode(all).as_bytes(), 7);
    assert_eq!((all.len(), left_out), (MOST, 2));
}

proptest! {
    #[test]
    fn no_file_panics_or_outgrows_its_bounds(
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        has_head in any::<bool>(),
    ) {
        let sightings = Sightings::default();
        sightings.saw(&peer(1), Some("n1"));
        sightings.saw(&peer(1), Some("n2"));
        let mut text = encode(sightings.all()).into_bytes();
        let from = if has_head { HEAD.len() + 1 } else { 0 };
        let at = from + at.index(text.len() - from);
        let end = (at + noise.len() / 2).min(text.len());
        text.splice(at..end, noise);
        let (all, _) = decode(&text, 7);
        prop_assert!(all.len() <= MOST);
        prop_assert!(all.values().all(|seen| is_sound(seen) && seen.last_seen <= 7));
        prop_assert_eq!(decode(encode(all.clone()).as_bytes(), 7), (all, 0));
    }
}
