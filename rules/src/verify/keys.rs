//! The private SSH keys that are here: this node's own, and those that should not be.

use super::finding::Finding;
use super::ids::Id;
use super::observed::{Configuration, KeyFile, Observed, PublicKey, Seen};
use super::role::{Place, Role};
use crate::shown::printable;
use crate::ssh_keys::sight::is_backup;

/// What Ganeti puts behind the name of a file that it replaces (`utils.CreateBackup`).
const BACKUP: &str = ".backup-";
/// The names of the pairs that Ganeti makes.
const OWN: [&str; 3] = ["id_rsa", "id_dsa", "id_ecdsa"];
/// The type of key that OpenSSH 10 does not know.
const DSA: &str = "ssh-dss";

impl KeyFile {
    /// Whether it is a former key that somebody put aside.
    fn is_backup(&self) -> bool {
        self.name.contains(BACKUP)
    }

    /// Whether Ganeti put it aside: one of its own pairs, and root's. A copy of another file, such
    /// as `authorized_keys`, says nothing of whose key it was.
    pub(super) fn is_made_by_ganeti(&self) -> bool {
        self.of_root && is_backup(&self.name)
    }
}

/// The node's own private keys.
pub(super) fn own_private(seen: &Observed) -> impl Iterator<Item = &KeyFile> {
    let files = seen.ssh.key_files.iter();
    files.filter(|file| file.private && OWN.contains(&file.name.as_str()))
}

/// All findings on the keys that are here.
pub(super) fn judge(place: &Place<'_>) -> Vec<Finding> {
    let ssh = &place.seen.ssh;
    let mut found: Vec<Finding> = Vec::new();
    for file in ssh.key_files.iter().filter(|file| file.private) {
        found.extend(of_file(place, file));
    }
    found.extend(own(place));
    found.extend(halves(place.seen));
    let known = ssh.pub_keys.good();
    found.extend(known.iter().flat_map(|all| &all.bad_lines).map(|bad| {
        let text = format!("line {}: {}", bad.line, printable(&bad.why));
        Finding::new(Id::SshBadLine, "ganeti_pub_keys", text)
    }));
    found.extend(without_key(place));
    found.extend(shared(place));
    found.extend(dsa(place));
    found
}

/// On clusters made with `--no-ssh-init` one pair may serve all nodes.
fn shared(place: &Place<'_>) -> Option<Finding> {
    let ssh = &place.seen.ssh;
    let configured = place.seen.configuration.good();
    let managed = configured.is_some_and(Configuration::manages_keys);
    if place.role != Role::Normal || ssh.pub_keys != Seen::Absent || managed {
        return None;
    }
    let lines = ssh.authorized.iter().filter_map(|file| file.lines.good());
    let mut authorized = lines.flat_map(|lines| &lines.keys);
    let one = authorized.find(|one| is_own(place, &one.key))?;
    Some(Finding::new(
        Id::SshSharedKey,
        &ssh.directory,
        one.key.to_string(),
    ))
}

/// Candidates of the configuration that Ganeti knows no key of.
fn without_key(place: &Place<'_>) -> Vec<Finding> {
    let ssh = &place.seen.ssh;
    if ssh.pub_keys.good().is_none() || place.seen.configuration.good().is_none() {
        return Vec::new();
    }
    let candidates = place.candidates.iter().flatten();
    let lost = candidates.filter(|uuid| !place.known.has(uuid));
    lost.map(|uuid| {
        let name = printable(&place.name(uuid));
        Finding::new(Id::SshPubKeysMissing, "ganeti_pub_keys", name)
    })
    .collect()
}

fn of_file(place: &Place<'_>, file: &KeyFile) -> Vec<Finding> {
    let mut found = Vec::new();
    match &file.key {
        Seen::Good(key) => found.extend(foreign(place, file, key)),
        Seen::Faulty(why) => found.push(Finding::new(Id::SshUnknownKey, &file.path, why)),
        Seen::Absent => {}
    }
    if file.is_backup() && found.is_empty() {
        let key = file.key.good().map(PublicKey::to_string);
        let text = key.unwrap_or_else(|| "a private key".into());
        found.push(Finding::new(Id::SshBackup, &file.path, text));
    }
    found
}

/// The key of another node. A normal node does not know its own UUID: there, a candidate's is one,
/// and any under another name than Ganeti's.
fn foreign(place: &Place<'_>, file: &KeyFile, key: &PublicKey) -> Option<Finding> {
    let uuids = place.known.holders(key);
    let uuid = *uuids.first()?;
    let is_own_file = OWN.contains(&file.name.as_str());
    let other = match (place.uuid, place.role) {
        (Some(own), _) => !uuids.contains(&own),
        (None, Role::Normal) => place.any_candidate(uuids) || (!is_own_file && !is_own(place, key)),
        (None, Role::Candidate | Role::Unknown) => !is_own_file && !is_own(place, key),
    };
    let text = format!("{key} is that of {}", printable(&place.name(uuid)));
    other.then(|| Finding::new(Id::SshForeignKey, &file.path, text))
}

fn is_own(place: &Place<'_>, key: &PublicKey) -> bool {
    let mut own = own_private(place.seen).filter_map(|file| file.key.good());
    own.any(|own| own.fingerprint == key.fingerprint)
}

/// Whether this node has a pair of its own, and Ganeti knows it.
fn own(place: &Place<'_>) -> Vec<Finding> {
    let ssh = &place.seen.ssh;
    if ssh.pub_keys.good().is_none() {
        return Vec::new(); // Ganeti does not manage the keys, or nobody can say
    }
    let mut own = own_private(place.seen).peekable();
    if own.peek().is_none() {
        let id = match place.role {
            Role::Candidate => Id::SshOwnKeyAbsent,
            Role::Normal => Id::SshOwnKeyAbsentHere,
            Role::Unknown => return Vec::new(),
        };
        let text = format!("none of {} is there", OWN.join(", "));
        return vec![Finding::new(id, &ssh.directory, text)];
    }
    let keys: Vec<(&KeyFile, &PublicKey)> = own
        .filter_map(|file| Some((file, file.key.good()?)))
        .collect();
    if keys.is_empty()
        || keys
            .iter()
            .any(|(_, key)| !place.known.holders(key).is_empty())
    {
        return Vec::new();
    }
    let unlisted = keys.into_iter();
    unlisted
        .map(|(file, key)| Finding::new(Id::SshOwnKeyUnlisted, &file.path, key.to_string()))
        .collect()
}

/// Public files that do not fit the private ones beside them.
fn halves(seen: &Observed) -> Vec<Finding> {
    let mut found = Vec::new();
    for private in own_private(seen) {
        let beside = format!("{}.pub", private.name);
        let public = seen.ssh.key_files.iter().find(|file| file.name == beside);
        if let (Some(own), Some(public)) = (private.key.good(), public)
            && let Some(other) = public.key.good()
            && other.fingerprint != own.fingerprint
        {
            let text = format!("{other} is beside {}", own.fingerprint);
            found.push(Finding::new(Id::SshHalves, &public.path, text));
        }
    }
    found
}

fn dsa(place: &Place<'_>) -> Option<Finding> {
    let known = place.seen.ssh.pub_keys.good();
    let known = known
        .iter()
        .flat_map(|all| all.keys.iter().map(|(_, key)| key));
    let own = own_private(place.seen).filter_map(|file| file.key.good());
    let first = known.chain(own).find(|key| key.kind == DSA)?;
    Some(Finding::new(
        Id::SshDsa,
        "ganeti_pub_keys",
        first.to_string(),
    ))
}
