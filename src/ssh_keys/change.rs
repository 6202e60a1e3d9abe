//! Takes keys out of this node's files, and puts them back unless the change is proven: a removal
//! waits until somebody who logged in afresh says `keep`, and is undone after its time. It decides
//! nothing about a key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::lines::{opens, with, without};
use super::place;
use crate::node::tree::Tree;
use rules::ssh_keys::Fingerprint;

/// What waits for its proof.
const PENDING: &str = "pending";

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// A name for it, of its own.
    pub id: u64,
    /// The keys that go.
    pub keys: BTreeSet<Fingerprint>,
    /// The key that must open the door afterwards.
    pub must_stay: Fingerprint,
}

/// A removal that is done and not proven.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    removal: Removal,
    /// Each file that was changed, and where its former content is.
    files: Vec<(PathBuf, String)>,
}

/// This node.
pub struct Node<'a> {
    /// Its files.
    pub tree: &'a Tree,
    /// The files that sshd reads.
    pub files: Vec<PathBuf>,
    /// Where the rest is.
    pub kept: &'a Kept,
    /// Seconds since 1970.
    pub now: i64,
}

/// A file, its content, and what it is to be.
type Edit = (PathBuf, Vec<u8>, Vec<u8>);

/// Writes a file in place of its former content.
type Write<'a> = &'a mut dyn FnMut(&Path, &[u8], &[u8]) -> Result<(), String>;

impl Node<'_> {
    /// Removes; how many lines are gone. `arm` starts what undoes it after its time; it is called
    /// when everything can be undone and nothing is changed yet.
    pub fn remove(
        &self,
        removal: &Removal,
        arm: impl FnOnce() -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut write = |path: &Path, was: &[u8], to: &[u8]| place::write(self.tree, path, was, to);
        self.remove_by(removal, arm, &mut write)
    }

    fn remove_by(
        &self,
        removal: &Removal,
        arm: impl FnOnce() -> Result<(), String>,
        write: Write<'_>,
    ) -> Result<usize, String> {
        self.kept.remove(PENDING)?; // whoever asks has logged in since: that proves the last one
        let (edits, gone) = self.edits(removal)?;
        if edits.is_empty() {
            return Ok(0);
        }
        let mut pending = Pending {
            removal: removal.clone(),
            files: Vec::new(),
        };
        for (path, was, _) in &edits {
            let backup = self.kept.back_up(self.now, was)?;
            pending.files.push((path.clone(), backup));
        }
        let text = serde_json::to_vec(&pending).map_err(|error| error.to_string())?;
        self.kept.write(PENDING, &text)?;
        let needed: Vec<&str> = pending.files.iter().map(|(_, name)| &**name).collect();
        self.kept.drop_old(&needed)?;
        let done = arm().and_then(|()| {
            let mut edits = edits.iter();
            edits.try_for_each(|(path, was, content)| write(path, was, content))
        });
        match done {
            Ok(()) => Ok(gone),
            Err(why) => match self.undo(Some(removal.id)) {
                Ok(_) => Err(format!("{why}; all is as it was")),
                Err(left) => Err(format!("{why}; and it could not be undone: {left}")),
            },
        }
    }

    /// What each file is to be, and how many lines go; or why that must not be.
    fn edits(&self, removal: &Removal) -> Result<(Vec<Edit>, usize), String> {
        let (mut edits, mut gone, mut is_open) = (Vec::new(), 0, false);
        for path in &self.files {
            let Some(was) = place::read(self.tree, path)? else {
                continue;
            };
            let (content, removed) = without(&was, &removal.keys);
            is_open |= opens(&content, &removal.must_stay);
            gone += removed.len();
            if !removed.is_empty() {
                edits.push((path.clone(), was, content));
            }
        }
        match is_open {
            true => Ok((edits, gone)),
            false => Err("the master's key would not be authorized afterwards".into()),
        }
    }

    /// The change with this name is proven, and stays.
    pub fn keep(&self, id: u64) -> Result<(), String> {
        match self.pending()? {
            Some(pending) if pending.removal.id == id => self.kept.remove(PENDING),
            _ => Err("the change was undone, as its proof came too late".into()),
        }
    }

    /// Whether this change still waits for its proof.
    pub fn waits(&self, id: u64) -> bool {
        let pending = self.pending().ok().flatten();
        pending.is_some_and(|pending| pending.removal.id == id)
    }

    /// Takes back what is not proven: this change, or whichever there is. Whether there was one.
    pub fn undo(&self, id: Option<u64>) -> Result<bool, String> {
        let Some(pending) = self.pending()? else {
            return Ok(false);
        };
        if id.is_some_and(|id| id != pending.removal.id) {
            return Ok(false);
        }
        let put_back = |file| self.put_back(file, &pending.removal);
        // One that cannot be put back keeps no other from it.
        let faults = pending.files.iter().filter_map(|file| put_back(file).err());
        let faults: Vec<String> = faults.collect();
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        self.kept.remove(PENDING)?;
        Ok(true)
    }

    fn put_back(&self, file: &(PathBuf, String), removal: &Removal) -> Result<(), String> {
        let (path, backup) = file;
        let lost = || format!("the former content of {} is lost", path.display());
        let was = self.kept.read(backup)?.ok_or_else(lost)?;
        let (content, removed) = without(&was, &removal.keys);
        let found = place::read(self.tree, path)?.unwrap_or_default();
        let back = match found == content {
            true => was,
            false => with(&found, &removed), // somebody else has changed it, too
        };
        match found == back {
            true => Ok(()),
            false => place::write(self.tree, path, &found, &back),
        }
    }

    fn pending(&self) -> Result<Option<Pending>, String> {
        let Some(text) = self.kept.read(PENDING)? else {
            return Ok(None);
        };
        let pending = serde_json::from_slice(&text);
        pending
            .map(Some)
            .map_err(|error| format!("{PENDING}: {error}"))
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
