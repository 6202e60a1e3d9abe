//! Does what `scene` says at the place. Each single change leaves a program there that works, Ganeti's
//! own or this one: whoever is killed in between has broken nothing, and the next run goes on from
//! there. It decides nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::look::{kept, there};
use super::place::Place;
use super::scene::{Act, Kept, There};

/// A single change.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Another name for the same file or link.
    Name(PathBuf, PathBuf),
    /// A new file that can be run.
    Write(PathBuf, Vec<u8>),
    /// In one moment, whatever was there.
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn make(&self) -> io::Result<()> {
        match self {
            Self::Name(from, to) => fs::hard_link(from, to),
            Self::Rename(from, to) => fs::rename(from, to),
            Self::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::Write(path, text) => {
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o755)
                    .open(path)?;
                file.write_all(text)?;
                let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                file.set_permissions(all)?; // whatever the umask is
                file.sync_all()
            }
        }
    }
}

/// Does what an act changes at the place itself; dpkg's part is a command of its own.
pub(in crate::commands) fn perform(act: &Act) -> Result<(), String> {
    let (place, changes) = match act {
        Act::Put(place, text) => (place, put(place, text)),
        Act::PutBack(place, _) => (place, put_back(place)),
        Act::Remove(place, _) => (place, Ok(vec![Change::Remove(place.path().to_owned())])),
        Act::Remember(_) | Act::Forget(_) | Act::Divert(_) | Act::Undivert(_) => return Ok(()),
    };
    let made = changes.and_then(|all| all.iter().try_for_each(Change::make));
    let folder = place
        .path()
        .parent()
        .ok_or_else(|| format!("{place} is in no folder"))?;
    let done = made.and_then(|()| File::open(folder)?.sync_all());
    done.map_err(|error| format!("{place}: {error}"))
}

/// Ganeti's own gets its second name before the small file takes the first one.
fn put(place: &Place, text: &[u8]) -> io::Result<Vec<Change>> {
    let path = place.path().to_owned();
    let mut changes = leftovers(place);
    let there = there(&path)?;
    if there == There::Other && kept(place, &there)? != Kept::Same {
        changes.push(Change::Name(path.clone(), place.new_kept()));
        changes.push(Change::Rename(place.new_kept(), place.kept()));
    }
    changes.push(Change::Write(place.new_text(), text.to_vec()));
    changes.push(Change::Rename(place.new_text(), path));
    Ok(changes)
}

/// What is kept takes the place of the small file. Where something else is in the place it is Ganeti's
/// own, and stays.
fn put_back(place: &Place) -> io::Result<Vec<Change>> {
    let mut changes = leftovers(place);
    let there = there(place.path())?;
    match (kept(place, &there)?, there) {
        (Kept::Nothing, _) => {}
        (_, There::Other) => changes.push(Change::Remove(place.kept())),
        _ => changes.push(Change::Rename(place.kept(), place.path().to_owned())),
    }
    Ok(changes)
}

/// What somebody left who was killed.
fn leftovers(place: &Place) -> Vec<Change> {
    [place.new_kept(), place.new_text()]
        .map(Change::Remove)
        .into()
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
