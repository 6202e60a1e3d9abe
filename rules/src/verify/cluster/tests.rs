//! Each finding that only the master can have, and what a node that lies can do.

use std::collections::BTreeSet;

use super::*;
use crate::Named;
use crate::verify::Id;
use crate::verify::observed::{Configuration, KeyFile, Pem};
use crate::verify::tests::nodes_tests::{authorized, candidate, digest, key, key_file, normal};
use Id::*;

fn judged(name: &str, seen: Observed) -> Judged {
    Master::of(candidate()).judge(name, seen, &Allowed::default())
}

pub(super) fn ids(findings: &[Finding]) -> BTreeSet<Id> {
    findings.iter().map(|found| found.id).collect()
}

/// What the master finds after one change to n3.
type Row = (&'static [Id], fn(&mut Observed));

fn rows() -> Vec<Row> {
    vec![
        (&[], |_| {}),
        (&[SsconfDiffers], |seen| seen.lists.candidates = None),
        (&[SsconfDiffers], |seen| {
            seen.lists.nodes = Some(vec!["n1".into(), "n3".into(), "n4".into()]);
        }),
        (&[SsconfDiffers], |seen| {
            seen.lists.master = Some("n2".into())
        }),
        (&[SsconfDiffers], |seen| {
            seen.lists.offline = Some(vec!["n1".into()]);
        }),
        // Alone it would take itself for a candidate.
        (&[SsconfDiffers], |seen| {
            seen.lists.candidates = Some(["n1", "n2", "n3"].map(String::from).into());
        }),
        (&[NotANode], |seen| seen.host = "n2".into()),
        (&[ConfigurationDiffers], |seen| {
            seen.configuration = with(|configured| configured.serial = 6);
        }),
        (&[ConfigurationDiffers], |seen| {
            seen.configuration = with(|configured| configured.candidate_certs.clear());
        }),
        (&[ConfigurationDiffers], |seen| {
            seen.configuration = with(|configured| configured.nodes.clear());
        }),
        (&[SshPubKeysDiffer], |seen| {
            if let Seen::Good(all) = &mut seen.ssh.pub_keys {
                all.keys.push(("uuid-n3".into(), key("c4", "root@n3")));
            }
        }),
        // Each node's map is compared with the configuration's, though it has none itself.
        (&[MapDiffers], |seen| {
            if let Seen::Good(map) = &mut seen.map {
                map.remove(1);
            }
        }),
        (&[MapDiffers, MapEntryUnknown], |seen| {
            if let Seen::Good(map) = &mut seen.map {
                map.push(("uuid-evil".into(), digest(66)));
            }
        }),
        // A node without a map cannot hide that it has a candidate's certificate.
        (&[MapFaulty, ClientName, ClientStolen], |seen| {
            seen.map = Seen::Absent;
            seen.certificates.client = candidate_pem();
        }),
        // Nor can one without a list of keys hide a candidate's.
        (&[SshPubKeysAbsent, SshForeignKey, SshStranger], |seen| {
            seen.ssh.pub_keys = Seen::Absent;
            seen.ssh.key_files.push(key_file("copy", key("c2", "")));
        }),
        // The key of another normal node: alone no node can tell.
        (&[SshForeignKey], |seen| {
            seen.ssh.pub_keys = candidate().ssh.pub_keys;
            seen.ssh.key_files = vec![key_file("id_rsa", key("c2", ""))];
            seen.ssh.authorized[0] = authorized(&[key("c1", "root@n1"), key("c2", "root@n2")]);
        }),
    ]
}

pub(super) fn with(change: fn(&mut Configuration)) -> Seen<Configuration> {
    let mut configured = candidate().configuration;
    if let Seen::Good(configured) = &mut configured {
        change(configured);
    }
    configured
}

pub(super) fn candidate_pem() -> Pem {
    candidate().certificates.client
}

/// All that this file shows.
pub(in crate::verify) fn tested() -> BTreeSet<Id> {
    let rows = rows().into_iter().flat_map(|(expected, _)| expected);
    let troubles = [NodeUnreachable, NodeAnswer, NodeMute, NodeWithoutProxy];
    let others = [CertificateTwice, SshKeyTwice, OfflineOutdated];
    rows.copied().chain(troubles).chain(others).collect()
}

#[test]
fn what_the_master_says_of_a_node_as_a_table() {
    for (at, (expected, change)) in rows().into_iter().enumerate() {
        let mut seen = normal();
        change(&mut seen);
        let found = judged("n3", seen).findings;
        let expected = expected.iter().copied().collect();
        assert_eq!(ids(&found), expected, "row {at}: {found:#?}");
    }
    assert_eq!(judged("n1", candidate()).findings, []);
}

#[test]
fn the_masters_own_lists_are_compared_with_the_configuration() {
    let mut seen = candidate();
    seen.lists.candidates = Some(vec!["n1".into()]);
    let found = Master::of(seen.clone()).judge("n1", seen, &Allowed::default());
    let what: Vec<&str> = found.findings.iter().map(|f| f.what.as_str()).collect();
    assert_eq!(what, ["it lacks n2"]);
}

#[test]
fn without_a_configuration_the_masters_lists_are_compared() {
    let mut master = candidate();
    master.configuration = Seen::Absent;
    let master = Master::of(master);
    let mut seen = normal();
    seen.lists.candidates = Some(vec!["n1".into()]);
    let found = master.judge("n3", seen, &Allowed::default()).findings;
    assert_eq!(ids(&found), [SsconfDiffers].into(), "{found:#?}");
}

#[test]
fn a_time_that_a_node_made_up_changes_nothing() {
    for at in [i64::MIN, 0, i64::MAX] {
        let mut seen = normal();
        seen.at = at;
        seen.files[0].modified = at;
        assert_eq!(judged("n3", seen.clone()).findings, []);
        if let Seen::Good(own) = &mut seen.certificates.client.certificate {
            (own.not_before, own.not_after) = (at, at);
        }
        assert_eq!(judged("n3", seen).findings.len(), 1);
    }
}

fn copy(name: &str, of: &str) -> KeyFile {
    key_file(name, key(of, ""))
}

#[test]
fn what_two_nodes_have_is_told_once_and_names_both() {
    let master = Master::of(candidate());
    let node = |name: &'static str, path: &str| {
        let mut seen = normal();
        seen.ssh.key_files.push(copy(path, "deploy"));
        (name, judged(name, seen).held)
    };
    let both = [node("n3", "a"), node("n4", "b")];
    let mut held: BTreeMap<&str, &Held> = both.iter().map(|(name, held)| (*name, held)).collect();
    let found = master.in_common(&held, &Allowed::default());
    let what: Vec<(&str, &str)> = found
        .iter()
        .map(|found| (found.id.name(), found.what.as_str()))
        .collect();
    let expected = [
        ("certificate_twice", "2 nodes have it: n3, n4"),
        (
            "ssh_key_twice",
            "2 nodes have it: n3 (/root/.ssh/a), n4 (/root/.ssh/b)",
        ),
    ];
    assert_eq!(
        what, expected,
        "and nothing of n3's own key, which has an owner"
    );
    let allowed = Allowed {
        allow_ssh_keys: ["SHA256:deploy".into()].into(),
        ignore: vec![CertificateTwice],
    };
    assert_eq!(master.in_common(&held, &allowed), []);
    held.remove("n4");
    assert_eq!(master.in_common(&held, &Allowed::default()), []);
}

#[test]
fn a_thief_is_named_and_not_its_victim() {
    let mut thief = normal();
    thief.certificates.client = candidate_pem();
    thief.certificates.client.certificate = candidate().certificates.client.certificate;
    let held = judged("n3", thief).held;
    let victim = judged("n1", candidate());
    assert_eq!(victim.findings, []);
    let held: BTreeMap<&str, &Held> = [("n3", &held), ("n1", &victim.held)].into();
    let found = Master::of(candidate()).in_common(&held, &Allowed::default());
    assert_eq!(found, [], "the finding is on n3 alone");
}

#[test]
fn every_trouble_is_a_finding_on_its_node_in_one_plain_line() {
    let evil = || "a\u{1b}[2J\nb".to_owned();
    let troubles = [
        (Trouble::Unreachable(evil()), NodeUnreachable),
        (Trouble::Answer(evil()), NodeAnswer),
        (Trouble::Mute(evil()), NodeMute),
        (Trouble::WithoutProxy, NodeWithoutProxy),
    ];
    for (trouble, id) in troubles {
        let found = trouble.finding("n3");
        assert_eq!((found.id, found.subject.as_str()), (id, "n3"));
        assert!(
            found.what.chars().all(|c| (' '..='~').contains(&c)),
            "{found:?}"
        );
    }
}
