//! Modes and owners of files, and files that should not be on this node.

use super::finding::Finding;
use super::ids::Id;
use super::observed::{File, Owner, Purpose, RapiUser};
use super::role::{Place, Role};
use crate::shown::printable;

const DAY: i64 = 86_400;
/// luxid, wconfd and all jobs.
const MASTERD: &str = "gnt-masterd";
const CONFD: &str = "gnt-confd";
const RAPI: &str = "gnt-rapi";
/// Who needs which file, by the end of its path (Ganeti's `lib/tools/ensure_dirs.py`).
const NEEDED: [(&str, &[&str]); 7] = [
    ("/server.pem", &[MASTERD]),
    ("/client.pem", &[MASTERD]),
    ("/cluster-domain-secret", &[MASTERD]),
    ("/config.data", &[MASTERD, CONFD]),
    ("/hmac.key", &[MASTERD, CONFD]),
    ("/rapi.pem", &[RAPI]),
    ("/rapi/users", &[RAPI]),
];
/// Their groups, as Debian's package makes them.
const GROUPS: [(&str, &[&str]); 3] = [
    (MASTERD, &[MASTERD, CONFD, "gnt-daemons", "gnt-admin"]),
    (CONFD, &[CONFD, "gnt-daemons"]),
    (RAPI, &[RAPI, "gnt-daemons", "gnt-admin"]),
];

/// All findings on files.
pub(super) fn judge(place: &Place<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own_users = place.seen.files.iter().any(|file| is(&file.owner, MASTERD));
    for file in &place.seen.files {
        found.extend(access(file));
        found.extend(unreadable(file).filter(|_| own_users));
        found.extend(out_of_place(place, file));
    }
    if place.role == Role::Normal {
        let users = place.seen.rapi_users.good();
        found.extend(
            users
                .iter()
                .flat_map(|users| users.iter())
                .filter_map(password),
        );
    }
    found
}

/// Who may read and write it.
fn access(file: &File) -> Vec<Finding> {
    let mode = file.mode;
    let told = |id| {
        let (owner, group) = (shown(&file.owner), shown(&file.group));
        let text = format!("mode {:04o}, owner {owner}, group {group}", mode & 0o7777);
        Finding::new(id, &file.path, text)
    };
    // What a bit of the group gives to others than Ganeti's.
    let of_group = |bit: u32| mode & bit != 0 && !file.group.trusted;
    let (readable, writable) = match file.purpose {
        Purpose::Trusted | Purpose::MoveTransfer => (false, mode & 0o002 != 0 || of_group(0o020)),
        Purpose::RootKey => (mode & 0o044 != 0, mode & 0o022 != 0),
        _ => (
            mode & 0o004 != 0 || of_group(0o040),
            mode & 0o002 != 0 || of_group(0o020),
        ),
    };
    let mut found = Vec::new();
    found.extend(readable.then(|| told(Id::SecretReadable)));
    found.extend(writable.then(|| told(Id::FileWritable)));
    let of_stranger = match file.purpose {
        Purpose::RootKey => !file.owner.trusted || of_ganeti(&file.owner),
        _ => !file.owner.trusted,
    };
    found.extend(of_stranger.then(|| told(Id::FileOwner)));
    found
}

/// A daemon that needs the file and may not read it, where Ganeti's daemons are users of their own.
fn unreadable(file: &File) -> Option<Finding> {
    let needed = NEEDED.iter().filter(|(name, _)| file.path.ends_with(name));
    let mut users = needed.flat_map(|(_, users)| users.iter());
    let user = users.find(|user| !can_read(file, user))?;
    let (mode, owner, group) = (file.mode & 0o7777, shown(&file.owner), shown(&file.group));
    let text = format!("{user} cannot read it: mode {mode:04o}, owner {owner}, group {group}");
    Some(Finding::new(Id::DaemonCannotRead, &file.path, text))
}

/// As the kernel decides it: of the three classes the first that fits.
fn can_read(file: &File, user: &str) -> bool {
    let groups = GROUPS.iter().filter(|(of, _)| *of == user);
    let mut groups = groups.flat_map(|(_, groups)| groups.iter());
    let bit = match &file.owner {
        owner if is(owner, user) => 0o400,
        _ if groups.any(|group| is(&file.group, group)) => 0o040,
        _ => 0o004,
    };
    file.mode & bit != 0
}

fn is(owner: &Owner, name: &str) -> bool {
    owner.name.as_deref() == Some(name)
}

fn of_ganeti(owner: &Owner) -> bool {
    let name = owner.name.as_deref();
    name.is_some_and(|name| name.starts_with("gnt-"))
}

/// What is only for candidates, or for nobody any more.
fn out_of_place(place: &Place<'_>, file: &File) -> Option<Finding> {
    let normal = place.role == Role::Normal;
    let age = place.seen.at.saturating_sub(file.modified);
    let id = match file.purpose {
        Purpose::Configuration if normal => Id::ConfigurationHere,
        Purpose::ConfigurationBackup if normal => Id::ConfigurationBackup,
        Purpose::RapiKey if normal => Id::RapiKeyHere,
        Purpose::RapiUsers if normal => Id::RapiUsersHere,
        Purpose::ClientBackup => Id::ClientBackup,
        Purpose::MoveCertificate if age > DAY => Id::MoveLeftover,
        Purpose::MoveTransfer if age > DAY => Id::MoveTransfer,
        _ => return None,
    };
    let text = format!("it is {} days old", age.max(0) / DAY);
    Some(Finding::new(id, &file.path, text))
}

fn password(user: &RapiUser) -> Option<Finding> {
    let text = format!("the password of {} can be read", printable(&user.name));
    (user.clear_text && user.write).then(|| Finding::new(Id::RapiPassword, "rapi/users", text))
}

fn shown(owner: &Owner) -> String {
    match &owner.name {
        Some(name) => printable(name),
        None => owner.id.to_string(),
    }
}
