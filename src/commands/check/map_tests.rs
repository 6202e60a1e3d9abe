use std::sync::Arc;

use super::super::certificates::tests::certificate;
use super::super::finding::Verdict::{self, Error, Ok, Warning};
use super::*;
use rules::admission::LastGood;
use rules::candidates::parse;
use rules::identity::Digest;

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 20])
}

fn map(entries: &[(&str, u8)]) -> Map {
    let text: String = entries
        .iter()
        .map(|(k, n)| format!("{k}={}\n", digest(*n)))
        .collect();
    Map::new(parse(text.as_bytes()), text.as_bytes(), Some(0o444))
}

fn verdict(findings: &[Finding], id: &str) -> Verdict {
    findings.iter().find(|f| f.id == id).unwrap().verdict
}

#[test]
fn the_file_as_a_table() {
    let table = [
        ("", Warning),
        ("u1=AA", Error),
        ("u1=0202020202020202020202020202020202020202\n", Error),
    ];
    for (text, expected) in table {
        let map = Map::new(parse(text.as_bytes()), text.as_bytes(), None);
        assert_eq!(
            verdict(&file("m".as_ref(), &map, None), "candidate_map"),
            expected,
            "{text}"
        );
    }
    assert_eq!(
        verdict(
            &file("m".as_ref(), &map(&[("u", 1)]), None),
            "candidate_map"
        ),
        Ok
    );
}

#[test]
fn entries_as_a_table() {
    // entries, candidates; verdicts on leftovers, duplicates, count
    type Case = (&'static [(&'static str, u8)], usize, [Verdict; 3]);
    let table: [Case; 7] = [
        (&[("u1", 1), ("u2", 2)], 2, [Ok, Ok, Ok]),
        (&[("u1", 1), ("u2", 2)], 3, [Ok, Ok, Warning]),
        (&[("bootstrap", 1)], 1, [Warning, Ok, Warning]),
        (&[("u1", 1), ("bootstrap", 1)], 1, [Warning, Ok, Ok]),
        (&[("u1", 1), ("u1-SERVER", 3)], 1, [Warning, Ok, Ok]),
        (&[("u1", 1), ("u1-OLDMASTER", 3)], 1, [Warning, Ok, Ok]),
        (&[("u1", 1), ("u2", 1)], 2, [Ok, Error, Ok]),
    ];
    for (entries, candidates, expected) in table {
        let found = file("m".as_ref(), &map(entries), Some(candidates));
        let ids = ["leftovers", "duplicates", "count"].map(|id| format!("candidate_map_{id}"));
        assert_eq!(ids.map(|id| verdict(&found, &id)), expected, "{entries:?}");
    }
}

#[test]
fn a_map_that_everybody_can_write_is_an_error() {
    for (mode, expected) in [(0o444, Ok), (0o600, Ok), (0o664, Ok), (0o646, Error)] {
        let map = Map {
            mode: Some(mode),
            ..map(&[("u", 1)])
        };
        assert_eq!(
            verdict(&file("m".as_ref(), &map, Some(1)), "candidate_map_mode"),
            expected
        );
    }
}

#[test]
fn who_is_admitted_at_a_start() {
    use BootstrapPolicy::{Allow, Refuse};
    let good = || Pem::Good(Box::new(certificate(9)), 0o440);
    let kept = |server| {
        let MapFile::Listed(map) = map(&[("u", 1)]).file else {
            panic!()
        };
        let (server, map) = (digest(server), Arc::new(map));
        Remembered {
            memory: Memory {
                latch: [server].into_iter().collect(),
                last_good: Some(LastGood { server, map }),
            },
            damaged: None,
        }
    };
    // The node has left its cluster since.
    let left = |server| Remembered {
        memory: Memory {
            last_good: None,
            ..kept(server).memory
        },
        damaged: None,
    };
    let nothing = Remembered::default;
    let listed = || map(&[("u", 1)]).file;
    let damaged = || Remembered {
        damaged: Some(("f".into(), "cut".into())),
        ..nothing()
    };
    let unreadable = || MapFile::Unreadable("EIO".into());
    let table = [
        (listed(), good(), nothing(), Allow, Ok),
        (listed(), Pem::Absent, nothing(), Allow, Warning),
        (listed(), Pem::Faulty("x".into()), nothing(), Allow, Error),
        (MapFile::Absent, good(), nothing(), Allow, Warning),
        (MapFile::Empty, good(), nothing(), Refuse, Error),
        (MapFile::Empty, good(), kept(9), Refuse, Warning),
        (MapFile::Empty, good(), kept(8), Refuse, Error),
        (MapFile::Empty, good(), left(9), Allow, Error),
        (MapFile::Empty, good(), left(8), Allow, Warning),
        (MapFile::Empty, good(), damaged(), Allow, Error),
        (unreadable(), good(), nothing(), Allow, Error),
        (unreadable(), good(), kept(9), Allow, Warning),
    ];
    for (file, server, remembered, policy, expected) in table {
        let case = format!("{file:?} {server:?} {remembered:?} {policy:?}");
        let found = admission(
            "s".as_ref(),
            &file,
            &server,
            &remembered,
            policy,
            Mode::Enforce,
        );
        assert_eq!(verdict(&found, "admission"), expected, "{case}");
        let kept = if remembered.damaged.is_some() {
            Warning
        } else {
            Ok
        };
        assert_eq!(verdict(&found, "last_good_map"), kept, "{case}");
        let found = admission(
            "s".as_ref(),
            &file,
            &server,
            &remembered,
            policy,
            Mode::Audit,
        );
        let in_audit = match server {
            Pem::Good(..) => Warning, // whatever the map says
            Pem::Absent | Pem::Faulty(_) => expected,
        };
        assert_eq!(verdict(&found, "admission"), in_audit, "audit: {case}");
    }
}

#[test]
fn listed_exactly_if_a_candidate() {
    let unknown = || Role::Unknown("no ssconf".into());
    let table = [
        (Role::Candidate, 1, "u1", Ok),
        (Role::Candidate, 2, "u1", Error),
        (Role::Candidate, 2, "bootstrap", Warning),
        (Role::Normal, 1, "u1", Error),
        (Role::Normal, 2, "u1", Ok),
        (unknown(), 1, "u1", Warning),
        (unknown(), 2, "u1", Warning),
    ];
    for (role, own, key, expected) in table {
        let client = Pem::Good(Box::new(certificate(own)), 0o440);
        let found = own_entry("c".as_ref(), &client, &map(&[(key, 1)]), &role).unwrap();
        assert_eq!(
            (found.id, found.verdict),
            ("client_pem_listed", expected),
            "{role:?} {own}"
        );
    }
}

#[test]
fn without_client_pem_a_candidate_cannot_command() {
    let map = map(&[("u1", 1)]);
    let found = |role| {
        own_entry("c".as_ref(), &Pem::Absent, &map, &role)
            .unwrap()
            .verdict
    };
    assert_eq!(found(Role::Candidate), Error);
    assert_eq!(found(Role::Normal), Warning);
    let bootstrap = Map::new(MapFile::Absent, b"", None);
    assert_eq!(
        own_entry("c".as_ref(), &Pem::Absent, &bootstrap, &Role::Candidate),
        None
    );
}
