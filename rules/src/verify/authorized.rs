//! Who may log in as root: every authorized key sorted into those of candidates, this node's own,
//! former and normal nodes', and strangers'.
//!
//! From Ganeti 2.13 on, each node has a pair of its own, and a key is authorized everywhere exactly
//! while its node is a master candidate. A key that is no node's may be an administrator's: one
//! node cannot tell, so that is a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::ids::Id;
use super::keys::own_private;
use super::observed::{Authorized, AuthorizedLines, Configuration, KeyFile, PublicKey, Seen};
use super::role::Place;
use crate::shown::printable;

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    /// The administrator has listed it.
    Listed,
    /// This node's own.
    Own,
    /// That of a candidate.
    Candidate,
    /// That of a node that is none, by its UUID.
    NormalNode(String),
    /// A former key of a node, and how that is known.
    Former(String),
    /// Nobody's that is known.
    Stranger,
}

/// All findings on authorized keys.
pub(super) fn judge(place: &Place<'_>, listed: &BTreeSet<String>) -> Vec<Finding> {
    let ssh = &place.seen.ssh;
    let mut found = Vec::new();
    for file in &ssh.authorized {
        match &file.lines {
            Seen::Absent => {}
            Seen::Faulty(why) => found.push(Finding::new(Id::Unreadable, &file.path, why)),
            Seen::Good(lines) => found.extend(of_file(place, listed, &file.path, lines)),
        }
    }
    found.extend(missing(place));
    found.extend(ssh.elsewhere.iter().map(|setting| {
        let text = format!("sshd_config says: {}", printable(setting));
        Finding::new(Id::SshElsewhere, "sshd", text)
    }));
    found.extend(unsorted(place));
    found
}

fn of_file(
    place: &Place<'_>,
    listed: &BTreeSet<String>,
    path: &str,
    lines: &AuthorizedLines,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &lines.keys {
        found.extend(of_key(place, listed, path, one));
        let at = *first.entry(&one.key.fingerprint).or_insert(one.line);
        if at != one.line {
            let text = format!("line {} has the key of line {at}: {}", one.line, one.key);
            found.push(Finding::new(Id::SshTwice, path, text));
        }
    }
    found.extend(lines.bad_lines.iter().map(|bad| {
        let text = format!("line {}: {}", bad.line, printable(&bad.why));
        Finding::new(Id::SshBadLine, path, text)
    }));
    found
}

fn of_key(
    place: &Place<'_>,
    listed: &BTreeSet<String>,
    path: &str,
    one: &Authorized,
) -> Option<Finding> {
    let line = one.line;
    let text = |more: &str| format!("line {line}: {}{}{more}", one.key, options(one));
    let is_authority = one
        .options
        .iter()
        .any(|o| o.eq_ignore_ascii_case("cert-authority"));
    let found = |id, more: &str| Some(Finding::new(id, path, text(more)));
    match whose(place, listed, &one.key) {
        Whose::Listed => None,
        _ if is_authority => found(Id::SshAuthority, ""),
        Whose::Own => None,
        Whose::Candidate if one.options.is_empty() => None,
        Whose::Candidate => found(Id::SshOptions, ""),
        Whose::NormalNode(uuid) => {
            let name = printable(&place.name(&uuid));
            found(Id::SshNormalNode, &format!(" is that of {name}"))
        }
        Whose::Former(why) => found(Id::SshOldKey, &format!(" is a former key: {why}")),
        Whose::Stranger => found(Id::SshStranger, ""),
    }
}

fn whose(place: &Place<'_>, listed: &BTreeSet<String>, key: &PublicKey) -> Whose {
    if listed.contains(&key.fingerprint) {
        return Whose::Listed;
    }
    let holders = place.known.holders(key);
    if place.any_candidate(holders) || place.known.is_shared(key) {
        return Whose::Candidate;
    }
    if let Some(node) = place.known.pair_of(key) {
        let candidates = place.seen.lists.candidates.as_ref();
        return match candidates.is_some_and(|all| all.iter().any(|name| name == node)) {
            true => Whose::Candidate,
            false => Whose::NormalNode(node.to_owned()),
        };
    }
    let is_own = |file: &KeyFile| {
        file.key
            .good()
            .is_some_and(|own| own.fingerprint == key.fingerprint)
    };
    if own_private(place.seen).any(is_own) {
        return Whose::Own;
    }
    if place.known.is_replaced(key) {
        return Whose::Former("that of the pair that all nodes shared".into());
    }
    if let Some(uuid) = holders.first() {
        return match place.candidates.is_some() {
            true => Whose::NormalNode((*uuid).to_owned()),
            false => Whose::Candidate, // nobody can say: `unsorted` is told instead
        };
    }
    former(place, key).map_or(Whose::Stranger, Whose::Former)
}

/// The proof that a key was a node's: it is in a backup that Ganeti has made here, or it bears the
/// name of a node whose present key is another.
fn former(place: &Place<'_>, key: &PublicKey) -> Option<String> {
    let mut backups = place
        .seen
        .ssh
        .key_files
        .iter()
        .filter(|file| file.is_made_by_ganeti());
    let backup = backups.find(|file| {
        file.key
            .good()
            .is_some_and(|old| old.fingerprint == key.fingerprint)
    });
    if let Some(file) = backup {
        return Some(format!("{} has its other half", printable(&file.name)));
    }
    let node = place.known.node_of_comment(key)?;
    let has_another = place.known.has_named(node);
    has_another.then(|| format!("{} has another one now", printable(node)))
}

/// Every candidate's key that is authorized nowhere here.
fn missing(place: &Place<'_>) -> Vec<Finding> {
    let ssh = &place.seen.ssh;
    let (Some(pub_keys), Some(_)) = (ssh.pub_keys.good(), &place.candidates) else {
        return Vec::new();
    };
    let Some(file) = ssh.authorized.first() else {
        return Vec::new();
    };
    if matches!(file.lines, Seen::Faulty(_)) {
        return Vec::new();
    }
    let lines = ssh.authorized.iter().filter_map(|file| file.lines.good());
    let authorized: BTreeSet<&str> = lines
        .flat_map(|lines| &lines.keys)
        .map(|one| one.key.fingerprint.as_str())
        .collect();
    let of_candidates = pub_keys
        .keys
        .iter()
        .filter(|(uuid, _)| place.is_candidate(uuid));
    let lost = of_candidates.filter(|(_, key)| !authorized.contains(key.fingerprint.as_str()));
    lost.map(|(uuid, key)| {
        let text = format!("{key} of {}", printable(&place.name(uuid)));
        Finding::new(Id::SshMissing, &file.path, text)
    })
    .collect()
}

/// When keys cannot be sorted at all.
fn unsorted(place: &Place<'_>) -> Option<Finding> {
    let configured = place.seen.configuration.good();
    let managed = configured.map(Configuration::manages_keys);
    let subject = "ganeti_pub_keys";
    match (&place.seen.ssh.pub_keys, managed) {
        (Seen::Absent, Some(true)) => {
            let text = "the file is absent";
            Some(Finding::new(Id::SshPubKeysAbsent, subject, text))
        }
        (Seen::Absent, Some(false)) => None,
        (Seen::Absent, None) if place.seen.ssh.pairs.good().is_some() => None,
        (Seen::Absent, None) => {
            let text = "the file is absent; was the cluster made with --no-ssh-init?";
            Some(Finding::new(Id::SshUnsorted, subject, text))
        }
        (Seen::Good(_), _) if place.candidates.is_none() => {
            let text = "the candidate map cannot be used";
            Some(Finding::new(Id::SshUnsorted, subject, text))
        }
        (Seen::Good(_) | Seen::Faulty(_), _) => None,
    }
}

fn options(one: &Authorized) -> String {
    match one.options.as_slice() {
        [] => String::new(),
        options => format!(" with {}", printable(&options.join(","))),
    }
}
