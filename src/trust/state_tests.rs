use super::*;
use rules::identity::Digest;
use std::fs;

fn good(server: u8) -> Memory {
    let text = format!(
        "u1={}\nu2={}\n",
        Digest::from_bytes([1; 20]),
        Digest::from_bytes([2; 20])
    );
    let MapFile::Listed(map) = parse(text.as_bytes()) else {
        panic!("{text}")
    };
    let (server, map) = (Digest::from_bytes([server; 20]), Arc::new(map));
    Memory {
        last_good: Some(LastGood { server, map }),
        latch: [Digest::from_bytes([8; 20]), server].into_iter().collect(),
    }
}

/// What another process would read back.
fn kept(dir: &Path) -> Remembered {
    State::new(dir).load()
}

#[test]
fn what_is_kept_is_read_back_and_the_latch_outlives_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::new(dir.path());
    assert_eq!(state.load(), Remembered::default());
    state.keep(&good(9)).unwrap();
    let found = kept(dir.path());
    assert_eq!((found.memory, found.damaged), (good(9), None));
    let left = Memory {
        last_good: None,
        ..good(9)
    };
    state.keep(&left).unwrap();
    assert!(!state.map_path().exists());
    assert_eq!(kept(dir.path()).memory, left);
    state.keep(&Memory::default()).unwrap();
    assert_eq!(kept(dir.path()), Remembered::default());
}

#[test]
fn a_file_of_a_version_without_the_latch_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    State::new(dir.path()).keep(&good(9)).unwrap();
    fs::remove_file(dir.path().join(LATCH)).unwrap();
    let found = kept(dir.path()).memory;
    assert!(found.latch.holds(&Digest::from_bytes([9; 20])));
}

#[test]
fn a_damaged_file_is_not_nothing() {
    let dir = tempfile::tempdir().unwrap();
    State::new(dir.path()).keep(&good(9)).unwrap();
    for (name, head) in [(MAP, MAP_HEAD), (LATCH, LATCH_HEAD)] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for cut in [0, 10, head.len() + 59, whole.len() - 5] {
            fs::write(&path, &whole[..cut]).unwrap();
            let found = kept(dir.path());
            assert!(found.damaged.is_some(), "{name} cut at {cut}");
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn the_digests_before_the_damage_still_count() {
    let dir = tempfile::tempdir().unwrap();
    State::new(dir.path()).keep(&good(9)).unwrap();
    let path = dir.path().join(LATCH);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    fs::remove_file(dir.path().join(MAP)).unwrap();
    let found = kept(dir.path());
    assert!(found.damaged.is_some());
    assert!(found.memory.latch.holds(&Digest::from_bytes([8; 20])));
}

#[test]
fn files_that_somebody_removed_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::new(dir.path());
    state.keep(&good(9)).unwrap();
    for name in [MAP, LATCH] {
        fs::remove_file(dir.path().join(name)).unwrap();
        state.keep(&good(9)).unwrap();
        assert_eq!(kept(dir.path()).memory, good(9), "{name}");
    }
}
