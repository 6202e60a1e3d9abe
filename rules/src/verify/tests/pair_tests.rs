//! Rows on clusters whose keys Ganeti does not manage: keys are known by the list that `ssh-keys`
//! keeps, and by no list of Ganeti's.

use super::super::observed::*;
use super::nodes_tests::{authorized, candidate, key, key_file, normal};
use super::{Row, check, row};
use crate::ssh_keys::pairs::list::{List, Pair, VERSION};
use crate::verify::Id::*;

fn letters(letter: char) -> String {
    letter.to_string().repeat(43)
}

fn public(letter: char) -> PublicKey {
    key(&letters(letter), "whatever")
}

fn list(own_pairs: bool, own: &[(&str, char)]) -> Seen<List> {
    let key = |letter| format!("SHA256:{}", letters(letter)).parse().unwrap();
    let pair = |letter| Pair {
        key: key(letter),
        public: "ssh-rsa AAAA".into(),
    };
    Seen::Good(List {
        version: VERSION,
        own_pairs,
        shared: Some(key('s')),
        own: own
            .iter()
            .map(|(node, letter)| ((*node).to_owned(), pair(*letter)))
            .collect(),
    })
}

/// A node with these keys and none of Ganeti's.
fn unmanaged(mut seen: Observed, private: &[char], lines: &[char]) -> Observed {
    if let Seen::Good(configured) = &mut seen.configuration {
        configured.modify_ssh_setup = false;
    }
    let lines: Vec<PublicKey> = lines.iter().map(|letter| public(*letter)).collect();
    seen.ssh.pub_keys = Seen::Absent;
    seen.ssh.authorized = vec![authorized(&lines)];
    let private = private
        .iter()
        .map(|letter| key_file("id_rsa", public(*letter)));
    seen.ssh.key_files = private.collect();
    seen
}

/// n3, after the distribution: it has no private key.
fn shared() -> Observed {
    let mut seen = unmanaged(normal(), &[], &['s']);
    seen.ssh.pairs = list(false, &[]);
    seen
}

/// n1 with a pair of its own, as n2 has.
fn own() -> Observed {
    let mut seen = unmanaged(candidate(), &['a'], &['a', 'b']);
    seen.ssh.pairs = list(true, &[("n1", 'a'), ("n2", 'b')]);
    seen
}

pub(super) fn rows() -> Vec<Row> {
    let before = || unmanaged(normal(), &['s'], &['s']);
    let master = || unmanaged(candidate(), &['s'], &['s']);
    vec![
        row(before, &[SshUnsorted, SshSharedKey], |_| {}),
        row(master, &[], |_| {}),
        // Without a list nobody knows whose the line is.
        row(shared, &[SshUnsorted, SshStranger], |seen| {
            seen.ssh.pairs = Seen::Absent;
        }),
        row(shared, &[], |_| {}),
        row(shared, &[SshSharedKey], |seen| {
            seen.ssh.key_files = vec![key_file("id_rsa", public('s'))];
        }),
        row(shared, &[SshStranger], |seen| {
            seen.ssh.authorized = vec![authorized(&[public('s'), public('x')])];
        }),
        row(shared, &[Unreadable, SshUnsorted, SshStranger], |seen| {
            seen.ssh.pairs = Seen::Faulty("it has another version".into());
        }),
        row(own, &[], |_| {}),
        // The shared key opens no door any more; nor does that of a node that was demoted.
        row(own, &[SshOldKey], |seen| {
            seen.ssh.authorized = vec![authorized(&[public('a'), public('b'), public('s')])];
        }),
        row(own, &[SshNormalNode], |seen| {
            seen.ssh.pairs = list(true, &[("n1", 'a'), ("n2", 'b'), ("n3", 'c')]);
            seen.ssh.authorized = vec![authorized(&[public('a'), public('b'), public('c')])];
        }),
        // Where Ganeti manages the keys, the list says nothing.
        row(normal, &[SshStranger], |seen| {
            seen.ssh.pairs = list(false, &[]);
            if let Seen::Good(lines) = &mut seen.ssh.authorized[0].lines {
                let key = public('s');
                let (line, options) = (9, Vec::new());
                lines.keys.push(Authorized { line, options, key });
            }
        }),
    ]
}

#[test]
fn what_candidates_share_is_no_theft_and_what_is_their_own_is() {
    use crate::verify::Allowed;
    use crate::verify::cluster::{Held, Master};
    let told = |pairs: Seen<List>, letter| {
        let mut master = unmanaged(candidate(), &[letter], &[letter]);
        master.ssh.pairs = pairs;
        let judged = |name: &str| {
            let mut seen = unmanaged(normal(), &[letter], &[letter]);
            (seen.host, seen.ssh.pairs) = (name.into(), master.ssh.pairs.clone());
            Master::of(master.clone()).judge(name, seen, &Allowed::default())
        };
        let both = ["n2", "n3"].map(|name| (name, judged(name)));
        let held: std::collections::BTreeMap<&str, &Held> = both
            .iter()
            .map(|(name, judged)| (*name, &judged.held))
            .collect();
        let twice = Master::of(master.clone()).in_common(&held, &Allowed::default());
        let stolen = both.iter().flat_map(|(name, judged)| {
            let found = judged.findings.iter();
            let found = found.filter(|found| found.id == SshForeignKey);
            found.map(move |_| (*name).to_owned())
        });
        let twice = twice.iter().filter(|found| found.id == SshKeyTwice);
        (stolen.collect::<Vec<String>>(), twice.count())
    };
    assert_eq!(told(Seen::Absent, 's'), (vec![], 1));
    assert_eq!(told(list(false, &[]), 's'), (vec![], 0));
    assert_eq!(
        told(list(true, &[("n2", 'b')]), 'b'),
        (vec!["n3".into()], 0)
    );
}

#[test]
fn pairs_that_ganeti_does_not_manage() {
    check(rows());
}
