//! Modes and owners of files, and files that should not be on this node.

use super::finding::Finding;
use super::ids::Id;
use super::observed::{File, Owner, Purpose, RapiUser};
use super::role::{Place, Role};
use crate::shown::printable;

const DAY: i64 = 86_400;

/// All findings on files.
pub(super) fn judge(place: &Place<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &place.seen.files {
        found.extend(access(file));
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
    found.extend((!file.owner.trusted).then(|| told(Id::FileOwner)));
    found
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
        Purpose::MoveTransfer if age > DAY => Id::MoveTransfer,
