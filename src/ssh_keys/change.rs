//! Changes this node's keys, and puts all back unless the change is proven: it waits until somebody
//! who logged in afresh says `keep`, and is undone after its time. It decides nothing about a key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::lines::{dropped, opens, with, without};
use super::pair::{self, Former, Pairs, Put};
use super::{place, staged};
use crate::node::tree::Tree;
use rules::ssh_keys::Fingerprint;
use rules::ssh_keys::sight::Sight;

/// What waits for its proof.
const PENDING: &str = "pending";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// A name for it, of its own.
    pub id: u64,
    /// The keys whose lines go.
    pub keys: BTreeSet<Fingerprint>,
    /// Lines that come.
    pub add: Vec<String>,
    /// What is done with pairs.
    pub pairs: Option<Pairs>,
    /// The key that must open the door afterwards.
    pub must_stay: Fingerprint,
}

impl Change {
    fn lines(&self) -> Vec<Vec<u8>> {
        self.add.iter().map(|line| line.clone().into()).collect()
    }

    /// A content as it is to be, and the lines that are gone.
    fn of(&self, was: &[u8], is_first: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (rest, removed) = without(was, &self.keys);
        match is_first {
            true => (with(&rest, &self.lines()), removed),
            false => (rest, removed),
        }
    }
}

/// A change that is done and not proven.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    change: Change,
    /// Each file of lines that was changed, and where its former content is.
    files: Vec<(PathBuf, String)>,
    /// The same of files with keys.
    keys: Vec<Former>,
}

/// This node.
pub struct Node<'a> {
    /// Its files.
    pub tree: &'a Tree,
    /// The files that sshd reads; lines come to the first that is there.
    pub files: Vec<PathBuf>,
    /// Root's directory of keys.
    pub directory: PathBuf,
    /// The keys that are there.
    pub sight: &'a Sight,
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
    /// Does it; how many lines are gone. `arm` starts what undoes it after its time; it is called
    /// when everything can be undone and nothing is changed yet.
    pub fn change(
        &self,
        change: &Change,
        arm: impl FnOnce() -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut write = |path: &Path, was: &[u8], to: &[u8]| place::write(self.tree, path, was, to);
        let mut put = |path: &Path, was: Option<&[u8]>, to: Option<&[u8]>, mode| {
            place::put(self.tree, path, was, to, mode)
        };
        self.change_by(change, arm, &mut write, &mut put)
    }

    fn change_by(
        &self,
        change: &Change,
        arm: impl FnOnce() -> Result<(), String>,
        write: Write<'_>,
        put: Put<'_>,
    ) -> Result<usize, String> {
        if self.settle()? {
            return Err("an earlier change of its keys was undone: run it again".into());
        }
        let (edits, gone) = self.edits(change)?;
        let keys = match &change.pairs {
            None => Vec::new(),
            Some(pairs) => {
                let staged = staged::read(self.kept)?.map(|(pair, _)| pair);
                pair::edits(self.tree, &self.directory, self.sight, pairs, staged)?
            }
        };
        let mut pending = Pending {
            change: change.clone(),
            files: Vec::new(),
            keys: Vec::new(),
        };
        if let Some(pairs) = &mut pending.change.pairs {
            pairs.give = None; // no private half is kept but what was here
        }
        if edits.is_empty() && keys.is_empty() {
            self.wait_for(&pending)?; // there is nothing to undo, and it is proven like any
            return self.note(change).map(|()| 0);
        }
        for (path, was, _) in &edits {
            let backup = self.kept.back_up(self.now, was)?;
            pending.files.push((path.clone(), backup));
        }
        for (at, edit) in keys.iter().enumerate() {
            let was = edit.was().map(|was| self.kept.keep_key(at, was));
            pending.keys.push(edit.former(was.transpose()?));
        }
        self.wait_for(&pending)?;
        let needed: Vec<&str> = pending.files.iter().map(|(_, name)| &**name).collect();
        self.kept.drop_old(&needed)?;
        let done = arm().and_then(|()| {
            let mut edits = edits.iter();
            edits.try_for_each(|(path, was, content)| write(path, was, content))?;
            pair::apply(&keys, put)?;
            self.note(change)
        });
        match done {
            Ok(()) => Ok(gone),
            Err(why) => match self.undo(Some(change.id)) {
                Ok(_) => Err(format!("{why}; all is as it was")),
                Err(left) => Err(format!("{why}; and it could not be undone: {left}")),
            },
        }
    }

    fn wait_for(&self, pending: &Pending) -> Result<(), String> {
        let text = serde_json::to_vec(pending).map_err(|error| error.to_string())?;
        self.kept.write(PENDING, &text)
    }

    /// What is no file of root's keys: the list, and a pair that waits for nothing.
    fn note(&self, change: &Change) -> Result<(), String> {
        let Some(pairs) = &change.pairs else {
            return Ok(());
        };
        if pairs.unstage {
            staged::remove(self.kept)?;
        }
        let text = serde_json::to_vec(&pairs.list).map_err(|error| error.to_string())?;
        self.kept.write(staged::LIST, &text)
    }

    /// Whoever asks has logged in since: that proves a change of lines. One of files with keys needs
    /// more than that, so it is undone: whether one was. No private half stays behind.
    pub fn settle(&self) -> Result<bool, String> {
        let keys = self
            .pending()?
            .is_some_and(|pending| !pending.keys.is_empty());
        match keys {
            true => drop(self.undo(None)?),
            false => self.kept.remove(PENDING)?,
        }
        self.kept.drop_keys().map(|()| keys)
    }

    /// The file to which lines come: the first that is there.
    fn first(&self) -> Option<&PathBuf> {
        let is_there = |path: &&PathBuf| matches!(place::read(self.tree, path), Ok(Some(_)));
        self.files.iter().find(is_there)
    }

    /// What each file is to be, and how many lines go; or why that must not be.
    fn edits(&self, change: &Change) -> Result<(Vec<Edit>, usize), String> {
        let (mut edits, mut gone, mut is_open) = (Vec::new(), 0, false);
        let first = self.first();
        for path in &self.files {
            let Some(was) = place::read(self.tree, path)? else {
                continue;
            };
            let (content, removed) = change.of(&was, first == Some(path));
            is_open |= opens(&content, &change.must_stay);
            gone += removed.len();
            if content != was {
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
            Some(pending) if pending.change.id == id => {
                self.kept.remove(PENDING)?;
                let mut pairs = pending.change.pairs.iter();
                if pairs.any(|pairs| pairs.switch) {
                    staged::remove(self.kept)?;
                }
                self.kept.drop_keys()
            }
            _ => Err("the change was undone, as its proof came too late".into()),
        }
    }

    /// Whether this change still waits for its proof.
    pub fn waits(&self, id: u64) -> bool {
        let pending = self.pending().ok().flatten();
        pending.is_some_and(|pending| pending.change.id == id)
    }

    /// The same; an error while nobody can say.
    pub fn may_wait(&self, id: u64) -> Result<bool, String> {
        let pending = self.pending()?;
        Ok(pending.is_some_and(|pending| pending.change.id == id))
    }

    /// Takes back what is not proven: this change, or whichever there is. Whether there was one.
    pub fn undo(&self, id: Option<u64>) -> Result<bool, String> {
        let Some(pending) = self.pending()? else {
            return Ok(false);
        };
        if id.is_some_and(|id| id != pending.change.id) {
            return Ok(false);
        }
        let put_back = |file| self.put_back(file, &pending.change);
        // One that cannot be put back keeps no other from it.
        let faults = pending.files.iter().filter_map(|file| put_back(file).err());
        let mut faults: Vec<String> = faults.collect();
        faults.extend(self.put_keys_back(&pending.keys).err());
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        self.kept.remove(PENDING)?;
        self.kept.drop_keys()?;
        Ok(true)
    }

    fn put_keys_back(&self, keys: &[Former]) -> Result<(), String> {
        let mut edits = Vec::new();
        for former in keys {
            let was = match former.kept_as() {
                Some(name) => Some(
                    self.kept
                        .read(name)?
                        .ok_or_else(|| format!("{name} is lost"))?,
                ),
                None => None,
            };
            edits.push(former.undone(self.tree, was)?);
        }
        let mut put = |path: &Path, was: Option<&[u8]>, to: Option<&[u8]>, mode| {
            place::put(self.tree, path, was, to, mode)
        };
        pair::apply(&edits, &mut put)
    }

    /// Whether a change is neither proven nor undone: what is seen now may not be so in a while.
    pub fn is_unsettled(kept: &Kept) -> Result<bool, String> {
        Ok(pending(kept)?.is_some() || kept.has_keys()?)
    }

    fn put_back(&self, file: &(PathBuf, String), change: &Change) -> Result<(), String> {
        let (path, backup) = file;
        let lost = || format!("the former content of {} is lost", path.display());
        let was = self.kept.read(backup)?.ok_or_else(lost)?;
        let is_first = self.first() == Some(path);
        let (content, removed) = change.of(&was, is_first);
        let found = place::read(self.tree, path)?.unwrap_or_default();
        let back = match found == content {
            true => was,
            // Somebody else has changed it, too. What was there before stays in any case.
            false => {
                let there: Vec<&[u8]> = was.split(|byte| *byte == b'\n').collect();
                let mut added = change.lines();
                added.retain(|line| !there.contains(&line.trim_ascii_end()));
                with(&dropped(&found, &added), &removed)
            }
        };
        match found == back {
            true => Ok(()),
            false => place::write(self.tree, path, &found, &back),
        }
    }

    fn pending(&self) -> Result<Option<Pending>, String> {
        pending(self.kept)
    }
}

fn pending(kept: &Kept) -> Result<Option<Pending>, String> {
    let Some(text) = kept.read(PENDING)? else {
        return Ok(None);
    };
    let pending = serde_json::from_slice(&text);
    pending
        .map(Some)
        .map_err(|error| format!("{PENDING}: {error}"))
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "pair_tests.rs"]
mod pair_tests;
