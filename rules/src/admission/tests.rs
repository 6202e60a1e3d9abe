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

/// What is known after a map was seen under this certificate.
fn good(server: Digest) -> Memory {
    let map = Arc::new(map(7));
    Memory {
        last_good: Some(LastGood { server, map }),
        latch: Latch::from_iter([server]),
    }
}

/// What is left of that when the node has left its cluster.
fn left(server: Digest) -> Memory {
    good(server).without_map()
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
    for before in [Memory::default(), good(OLD), good(NEW), left(NEW)] {
        let found = resolve(
            MapFile::Listed(map(9)),
            ServerPem::Known(NEW),
            before,
            BootstrapPolicy::Refuse,
        );
        assert_eq!(found.admission, Admission::Listed(Arc::new(map(9))));
        let kept = found.memory.last_good.unwrap();
        assert_eq!((kept.server, &*kept.map), (NEW, &map(9)));
        assert!(found.memory.latch.holds(&NEW) && !found.stale);
    }
}

#[test]
fn no_map_yet_is_the_bootstrap_phase() {
    for file in [MapFile::Absent, MapFile::Empty] {
        let ask = |policy| {
            let memory = Memory::default();
            resolve(file.clone(), ServerPem::Known(NEW), memory, policy)
        };
        let open = ask(BootstrapPolicy::Allow);
        assert_eq!(
            (open.admission, open.stale),
            (Admission::Bootstrap(NEW), false)
        );
        let shut = ask(BootstrapPolicy::Refuse);
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
        assert_eq!((kept.memory, kept.stale), (good(NEW), true));
    }
}

/// Steps of a node's life, each with `server.pem` and map as they are found, and who is admitted
/// then: `listed`, `bootstrap`, or why nobody is.
#[test]
fn a_life_as_a_table() {
    use ServerPem::{Absent, Faulty, Known};
    let none = || MapFile::Absent;
    let some = || MapFile::Listed(map(7));
    let torn = || MapFile::Unreadable("EIO".into());
    type Step = (ServerPem, MapFile, &'static str);
    let table: [(&str, Vec<Step>); 8] = [
        (
            "server.pem comes back before the map",
            vec![
                (Known(OLD), none(), "bootstrap"),
                (Known(OLD), some(), "listed"),
                (Absent, none(), "NotInCluster"),
                (Known(OLD), none(), "MapGone"),
                (Known(OLD), MapFile::Empty, "MapGone"),
                (Known(OLD), torn(), "NoGoodMap"),
                (Known(OLD), some(), "listed"),
            ],
        ),
        (
            "the map vanishes first",
            vec![
                (Known(OLD), some(), "listed"),
                (Known(OLD), none(), "listed"),
                (Absent, none(), "NotInCluster"),
                (Known(OLD), none(), "MapGone"),
            ],
        ),
        (
            "server.pem is cut short on its way back",
            vec![
                (Known(OLD), some(), "listed"),
                (Absent, none(), "NotInCluster"),
                (Faulty, none(), "NoIdentity"),
                (Known(OLD), none(), "MapGone"),
            ],
        ),
        (
            "another cluster starts afresh",
            vec![
                (Known(OLD), some(), "listed"),
                (Absent, none(), "NotInCluster"),
                (Known(NEW), none(), "bootstrap"),
                (Known(NEW), some(), "listed"),
            ],
        ),
        (
            "and does not open the first one again, with a map of its own or without",
            vec![
                (Known(OLD), some(), "listed"),
                (Known(NEW), none(), "bootstrap"),
                (Known(OLD), none(), "MapGone"),
                (Known(NEW), some(), "listed"),
                (Known(OLD), none(), "MapGone"),
                (Known(NEW), none(), "MapGone"),
            ],
        ),
        (
            "a node that never had a map leaves nothing behind",
            vec![
                (Known(OLD), none(), "bootstrap"),
                (Absent, none(), "NotInCluster"),
                (Known(OLD), none(), "bootstrap"),
            ],
        ),
        (
            "a fault closes nothing for good",
            vec![
                (Known(OLD), torn(), "NoGoodMap"),
                (Known(OLD), none(), "bootstrap"),
            ],
        ),
        (
            "a map that is there all the time",
            vec![
                (Known(OLD), some(), "listed"),
                (Absent, some(), "NotInCluster"),
                (Known(OLD), some(), "listed"),
            ],
        ),
    ];
    for (case, steps) in table {
        let mut memory = Memory::default();
        for (at, (server, file, expected)) in steps.into_iter().enumerate() {
            let found = resolve(file, server, memory, BootstrapPolicy::Allow);
            let who = match &found.admission {
                Admission::Nobody(why) => format!("{why:?}"),
                other => other.name().into(),
            };
            assert_eq!(who, expected, "{case}: step {at}");
            memory = found.memory;
        }
    }
}

#[test]
fn another_server_pem_starts_afresh() {
    for before in [good(OLD), left(OLD)] {
        let found = resolve(
            MapFile::Absent,
            ServerPem::Known(NEW),
            before,
            BootstrapPolicy::Allow,
        );
        assert_eq!(
            (found.admission, found.memory, found.stale),
            (Admission::Bootstrap(NEW), left(OLD), false)
        );
    }
}

#[test]
fn a_map_that_is_gone_is_a_fault_under_either_policy() {
    for policy in [BootstrapPolicy::Allow, BootstrapPolicy::Refuse] {
        let found = resolve(MapFile::Absent, ServerPem::Known(OLD), left(OLD), policy);
        let nobody = Admission::Nobody(Nobody::MapGone);
        assert_eq!((found.admission, found.stale), (nobody, true));
    }
}

#[test]
fn the_latch_is_bounded_and_the_oldest_leaves_first() {
    let digest = |n: usize| Digest::from_bytes([n as u8; 20]);
    let mut latch: Latch = (0..Latch::MOST).map(digest).collect();
    latch.close(digest(0)); // in force again, so the newest
    latch.close(digest(200));
    assert_eq!(latch.iter().count(), Latch::MOST);
    assert!(latch.holds(&digest(0)) && latch.holds(&digest(200)));
    assert!(!latch.holds(&digest(1)) && latch.holds(&digest(2)));
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
            let expected = Admission::Listed(Arc::new(map(7)));
            assert_eq!(kept.admission, expected, "{file:?}");
            assert_eq!((kept.memory, kept.stale), (good(OLD), true));
        }
        for memory in [Memory::default(), left(OLD)] {
            let none = resolve(
                file.clone(),
                ServerPem::Known(NEW),
                memory,
                BootstrapPolicy::Allow,
            );
            assert_eq!(none.admission, Admission::Nobody(Nobody::NoGoodMap));
            assert!(none.stale);
        }
    }
}

#[test]
fn without_server_pem_nobody_is_admitted() {
    let files = faults().into_iter();
    for file in files.chain([MapFile::Absent, MapFile::Listed(map(9))]) {
        let ask = |server| resolve(file.clone(), server, good(OLD), BootstrapPolicy::Allow);
        let found = ask(ServerPem::Absent);
        assert_eq!(found.admission, Admission::Nobody(Nobody::NotInCluster));
        assert_eq!((found.memory, found.stale), (left(OLD), false));

        let found = ask(ServerPem::Faulty);
        assert_eq!(found.admission, Admission::Nobody(Nobody::NoIdentity));
        let why = "a server.pem that cannot be read forgets nothing";
        assert_eq!(found.memory, good(OLD), "{why}");
        let stale = file != MapFile::Absent;
        assert_eq!(found.stale, stale, "a map that is there is not in force");
    }
}
