use super::*;
use crate::candidates::{LineFault, MapError, parse};

const OLD: Digest = Digest::from_bytes([1; 20]);
const NEW: Digest = Digest::from_bytes([2; 20]);

fn map(digest: u8) -> CandidateMap {
    match parse(format!("k={}", Digest::from_bytes([digest; 20])).as_bytes()) {
        MapFile::Listed(map) => map,
        other => panic!("{other:?}"),
    }
}

fn good(server: Digest) -> Option<LastGood> {
    Some(LastGood {
        server,
        map: Arc::new(map(7)),
    })
}

fn faults() -> [MapFile; 3] {
    let error = MapError {
        line: 1,
        fault: LineFault::Blank,
    };
    [
        MapFile::Unreadable("EACCES".into()),
        MapFile::Malformed(error),
        MapFile::TooLarge,
    ]
}

#[test]
fn a_listed_map_is_taken_and_remembered() {
    for before in [None, good(OLD), good(NEW)] {
        let found = resolve(
            MapFile::Listed(map(9)),
            ServerPem::Known(NEW),
            before,
            BootstrapPolicy::Refuse,
        );
        assert_eq!(found.admission, Admission::Listed(Arc::new(map(9))));
        assert_eq!(
            found.last_good,
            Some(LastGood {
                server: NEW,
                map: Arc::new(map(9))
            })
        );
        assert!(!found.stale);
    }
}

#[test]
fn no_map_yet_is_the_bootstrap_phase() {
    for file in [MapFile::Absent, MapFile::Empty] {
        let open = resolve(
            file.clone(),
            ServerPem::Known(NEW),
            None,
            BootstrapPolicy::Allow,
        );
        assert_eq!(
            (open.admission, open.stale),
            (Admission::Bootstrap(NEW), false)
        );
        let shut = resolve(file, ServerPem::Known(NEW), None, BootstrapPolicy::Refuse);
        assert_eq!(shut.admission, Admission::Nobody(Nobody::BootstrapRefused));
    }
}

#[test]
fn once_listed_an_absent_or_empty_map_never_opens_the_node() {
    for file in [MapFile::Absent, MapFile::Empty] {
        let kept = resolve(
            file,
            ServerPem::Known(NEW),
            good(NEW),
            BootstrapPolicy::Allow,
        );
        assert_eq!(kept.admission, Admission::Listed(Arc::new(map(7))));
        assert_eq!((kept.last_good, kept.stale), (good(NEW), true));
    }
}

#[test]
fn another_server_pem_starts_afresh() {
    let found = resolve(
        MapFile::Absent,
        ServerPem::Known(NEW),
        good(OLD),
        BootstrapPolicy::Allow,
    );
    assert_eq!(
        (found.admission, found.last_good),
        (Admission::Bootstrap(NEW), None)
    );
}

#[test]
fn a_faulty_map_keeps_the_last_good_one_or_admits_nobody() {
    for file in faults() {
        for server in [OLD, NEW] {
            let kept = resolve(
                file.clone(),
                ServerPem::Known(server),
                good(OLD),
                BootstrapPolicy::Allow,
            );
            assert_eq!(
                kept.admission,
                Admission::Listed(Arc::new(map(7))),
                "{file:?}"
            );
            assert_eq!((kept.last_good, kept.stale), (good(OLD), true));
        }
        let none = resolve(file, ServerPem::Known(NEW), None, BootstrapPolicy::Allow);
        assert_eq!(none.admission, Admission::Nobody(Nobody::NoGoodMap));
        assert!(none.stale);
    }
}

#[test]
fn without_server_pem_nobody_is_admitted() {
    for file in faults()
        .into_iter()
        .chain([MapFile::Absent, MapFile::Listed(map(9))])
    {
        let found = resolve(
            file.clone(),
            ServerPem::Absent,
            good(OLD),
            BootstrapPolicy::Allow,
        );
        assert_eq!(found.admission, Admission::Nobody(Nobody::NotInCluster));
        assert_eq!((found.last_good, found.stale), (None, false));

        let found = resolve(file, ServerPem::Faulty, good(OLD), BootstrapPolicy::Allow);
        assert_eq!(found.admission, Admission::Nobody(Nobody::NoIdentity));
        assert_eq!(
            found.last_good,
            good(OLD),
            "a server.pem that cannot be read forgets nothing"
        );
    }
}
