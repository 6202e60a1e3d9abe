//! Every finding of the closed list: what brings it about, and what does not.

mod cluster_tests;
mod daemon_tests;
mod node_tests;
pub(super) mod nodes_tests;
mod pair_tests;

use std::collections::BTreeSet;

use super::observed::Observed;
use super::{Allowed, Finding, Id, judge};
use crate::Named;
use nodes_tests::{candidate, normal};

/// One change to a good node, and all that is found then.
struct Row {
    good: fn() -> Observed,
    change: fn(&mut Observed),
    expected: &'static [Id],
}

fn row(good: fn() -> Observed, expected: &'static [Id], change: fn(&mut Observed)) -> Row {
    Row {
        good,
        change,
        expected,
    }
}

fn found(seen: &Observed) -> Vec<Finding> {
    judge(seen, &Allowed::default())
}

fn ids(findings: &[Finding]) -> BTreeSet<Id> {
    findings.iter().map(|found| found.id).collect()
}

fn check(rows: Vec<Row>) {
    for (at, row) in rows.iter().enumerate() {
        let mut seen = (row.good)();
        (row.change)(&mut seen);
        let found = found(&seen);
        let expected = row.expected.iter().copied().collect();
        assert_eq!(ids(&found), expected, "row {at}: {found:#?}");
    }
}

#[test]
fn good_nodes_have_no_findings() {
    for (name, seen) in [("candidate", candidate()), ("normal", normal())] {
        assert_eq!(found(&seen), vec![], "{name}");
    }
}

#[test]
fn every_id_has_a_row() {
    let rows = node_tests::rows().into_iter().chain(cluster_tests::rows());
    let rows = rows.chain(pair_tests::rows());
    let mut tested: BTreeSet<Id> = rows.flat_map(|row| row.expected).copied().collect();
    tested.extend(super::cluster::tests::tested());
    let untested: Vec<&str> = Id::all()
        .filter(|id| !tested.contains(id))
        .map(|id| id.name())
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// What a remedy must say so that its command works as it stands: without `--no-ssh-key-check`
/// Ganeti stops at the first node whose host key root has never seen.
#[test]
fn commands_in_remedies_are_whole() {
    for id in Id::all() {
        let text = id.remedy();
        let all = |what: &str, is_good: fn(&str, &str) -> bool| {
            let mut found = text.match_indices(what);
            let good = found.all(|(at, _)| is_good(&text[..at], &text[at..]));
            assert!(good, "{}: {what}: {text}", id.name());
        };
        all("renew-crypto", |before, _| before.ends_with("gnt-cluster "));
        all("renew-crypto ", |_, after| {
            ["renew-crypto --new-", "renew-crypto with --new-"]
                .iter()
                .any(|whole| after.starts_with(whole))
        });
        all("--new-ssh-keys", |_, after| {
            after.contains(" --no-ssh-key-check")
        });
        all("gnt-node modify", |_, after| after.contains(" NODE"));
        all("-C ", |before, _| before.ends_with("gnt-node modify "));
        all("--readd", |_, after| after.starts_with("--readd NODE"));
        all("copyfile", |_, after| {
            after.starts_with("copyfile -n NODE FILE") || after.starts_with("copyfile)")
        });
    }
}

#[test]
fn ids_are_plain_words_and_each_text_is_a_phrase_without_an_end() {
    let mut names = BTreeSet::new();
    for id in Id::all() {
        let plain = |c: u8| c.is_ascii_lowercase() || c == b'_';
        assert!(id.name().bytes().all(plain), "{}", id.name());
        assert!(names.insert(id.name()), "{} twice", id.name());
        for text in [id.what(), id.why(), id.remedy()] {
            let odd = text.is_empty() || text.ends_with('.') || text.contains(['|', '\n']);
            assert!(!odd && text.is_ascii(), "{}: {text}", id.name());
        }
    }
}

#[test]
fn what_is_ignored_or_allowed_is_not_found() {
    let mut seen = normal();
    seen.ssh.authorized[0] = nodes_tests::authorized(&[nodes_tests::key("admin", "admin@desk")]);
    let ids_with = |allowed: &Allowed| ids(&judge(&seen, allowed));
    let usual = ids_with(&Allowed::default());
    assert_eq!(usual, [Id::SshStranger, Id::SshMissing].into());
    let listed = Allowed {
        allow_ssh_keys: ["SHA256:admin".into()].into(),
        ..Allowed::default()
    };
    assert_eq!(ids_with(&listed), [Id::SshMissing].into());
    let ignored = Allowed {
        ignore: vec![Id::SshMissing, Id::SshStranger],
        ..Allowed::default()
    };
    assert_eq!(ids_with(&ignored), BTreeSet::new());
}

#[test]
fn errors_come_first_and_texts_of_strangers_are_escaped() {
    let mut seen = normal();
    let comment = "evil\u{1b}[2J\nready: true";
    let keys = [
        nodes_tests::key("c1", "root@n1"),
        nodes_tests::key("x", comment),
    ];
    seen.ssh.authorized[0] = nodes_tests::authorized(&keys);
    seen.certificates.client.key_fault = Some("no\nfit".into());
    let found = found(&seen);
    let ids: Vec<Id> = found.iter().map(|found| found.id).collect();
    assert_eq!(ids, [Id::ClientKey, Id::SshMissing, Id::SshStranger]);
    let text = &found[2].what;
    assert!(text.contains("evil\\u{1b}[2J\\u{a}ready"), "{text}");
    for found in found {
        let plain = found.what.chars().all(|c| (' '..='~').contains(&c));
        assert!(plain, "{}", found.what);
    }
}

#[test]
fn what_was_read_can_be_written_and_read_back() {
    for seen in [candidate(), normal(), Observed::default()] {
        let json = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Observed>(&json).unwrap(), seen);
    }
}
