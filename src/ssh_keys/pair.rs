//! The files of a node's own pair: the private half and the public one beside it. What is asked for
//! becomes edits, whose former contents are kept until somebody has proven that they are good.
//!
//! A pair is two files, and nothing replaces two at once. So the public one goes first and comes
//! last: ssh does without it, and fails if it is another key's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place;
use crate::node::tree::Tree;
use rules::identity::Digest;
use rules::ssh_keys::Fingerprint;
use rules::ssh_keys::pairs::List;
use rules::ssh_keys::sight::{KeyFile, Sight};

/// The names under which a pair comes.
const OWN: [&str; 3] = ["id_rsa", "id_dsa", "id_ecdsa"];

/// What is to be done with pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// Who has which pair.
    pub list: List,
    /// The name of the file that ssh takes by itself.
    pub place: String,
    /// Keys whose private halves go.
    pub take: BTreeSet<Fingerprint>,
    /// A pair that comes.
    pub give: Option<Given>,
    /// The pair that waits here takes the place of the shared one.
    pub switch: bool,
    /// The pair that waits here goes.
    pub unstage: bool,
}

/// Both halves of a pair, as files have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The private file.
    pub private: String,
    /// The public file.
    pub public: String,
}

/// Another content for a file, or none.
pub(super) struct Edit {
    path: PathBuf,
    was: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
}

/// What was there before: the name under which that is kept, and what must be there for an undo.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    path: PathBuf,
    was: Option<String>,
    to: Option<String>,
}

impl Edit {
    /// One for a file as it is now.
    fn new(tree: &Tree, path: PathBuf, to: Option<Vec<u8>>) -> Result<Self, String> {
        let was = place::read(tree, &path)?;
        Ok(Self { path, was, to })
    }

    pub(super) fn was(&self) -> Option<&[u8]> {
        self.was.as_deref()
    }

    /// With the name under which its former content is kept.
    pub(super) fn former(&self, was: Option<String>) -> Former {
        Former {
            path: self.path.clone(),
            was,
            to: self.to.as_deref().map(mark),
        }
    }
}

impl Former {
    pub(super) fn kept_as(&self) -> Option<&str> {
        self.was.as_deref()
    }

    /// Puts back `was`, unless somebody else has changed the file meanwhile.
    pub(super) fn undone(&self, tree: &Tree, was: Option<Vec<u8>>) -> Result<Edit, String> {
        let mut edit = Edit::new(tree, self.path.clone(), was)?;
        let is_ours = edit.was().is_none_or(|now| Some(mark(now)) == self.to);
        if !is_ours {
            edit.to = edit.was.clone();
        }
        Ok(edit)
    }
}

/// What a change of pairs does to the files of this directory, in which `sight` has found keys.
pub(super) fn edits(
    tree: &Tree,
    directory: &Path,
    sight: &Sight,
    pairs: &Pairs,
    staged: Option<Given>,
) -> Result<Vec<Edit>, String> {
    let gone = gone(sight, pairs);
    let come = match (&pairs.give, pairs.switch) {
        (Some(given), false) => Some(given.clone()),
        (None, true) => Some(staged.ok_or("no pair waits here")?),
        (None, false) => None,
        (Some(_), true) => return Err("a pair that comes, and one that waits here".into()),
    };
    let mut edits = Vec::new();
    let public = format!("{}.pub", pairs.place);
    if let Some(come) = come {
        if !OWN.contains(&pairs.place.as_str()) {
            return Err("no name of a pair".into());
        }
        let private = directory.join(&pairs.place);
        let edit = Edit::new(tree, private, Some(come.private.into_bytes()))?;
        if edit.was.is_some() && edit.was != edit.to && !gone.contains(&pairs.place) {
            return Err(format!("{}: another pair by now", edit.path.display()));
        }
        edits.push(edit);
        let beside = directory.join(&public);
        edits.push(Edit::new(tree, beside, Some(come.public.into_bytes()))?);
    }
    let comes = |name: &String| !edits.is_empty() && (*name == pairs.place || *name == public);
    let rest: Vec<&String> = gone.iter().filter(|name| !comes(name)).collect();
    for name in rest {
        edits.push(Edit::new(tree, directory.join(name), None)?);
    }
    edits.retain(|edit| edit.was != edit.to);
    Ok(edits)
}

/// The names of the private files that go, and of the public ones beside them.
fn gone(sight: &Sight, pairs: &Pairs) -> BTreeSet<String> {
    let shared = pairs.list.shared.as_ref().filter(|_| pairs.switch);
    let goes = |file: &&KeyFile| {
        let is_replaced = file.is_own() && shared == Some(&file.key);
        file.private && (pairs.take.contains(&file.key) || is_replaced)
    };
    let private = sight.files.iter().filter(goes).map(|file| &file.name);
    let mut gone: BTreeSet<String> = private.cloned().collect();
    let is_beside = |file: &&KeyFile| {
        let of = file.name.strip_suffix(".pub");
        !file.private && of.is_some_and(|of| gone.contains(of))
    };
    let public = sight.files.iter().filter(is_beside);
    let public: Vec<String> = public.map(|file| file.name.clone()).collect();
    gone.extend(public);
    gone
}

/// Puts a file in its place: path, what is there, what is to be, and the mode of a new one.
pub(super) type Put<'a> =
    &'a mut dyn FnMut(&Path, Option<&[u8]>, Option<&[u8]>, u32) -> Result<(), String>;

/// Does them: public files go first and come last.
pub(super) fn apply(edits: &[Edit], put: Put<'_>) -> Result<(), String> {
    let is_public = |edit: &&Edit| edit.path.extension().is_some_and(|end| end == "pub");
    let changed = || edits.iter().filter(|edit| edit.was != edit.to);
    for edit in changed().filter(is_public) {
        put(&edit.path, edit.was(), None, 0)?;
    }
    for edit in changed().filter(|edit| !is_public(edit)) {
        put(&edit.path, edit.was(), edit.to.as_deref(), 0o600)?;
    }
    for edit in changed().filter(is_public) {
        put(&edit.path, None, edit.to.as_deref(), 0o644)?;
    }
    Ok(())
}

/// What tells one content from another; no secret can be made of it.
fn mark(content: &[u8]) -> String {
    Digest::of_der(content).to_string()
}
