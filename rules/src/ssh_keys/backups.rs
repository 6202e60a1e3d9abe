//! Private halves that Ganeti put aside. An old one is deleted, unless it is the only proof that a
//! line which is still somewhere was a node's.

use std::collections::HashSet;
use std::fmt;

use super::Fingerprint;
use super::scene::{Scene, Wishes};
use super::sight::{KeyFile, Sight};

/// A private key that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its name in root's directory of keys.
    pub file: String,
    /// The key.
    pub key: Fingerprint,
    /// What is done with it.
    pub fate: Fate,
}

/// What is done with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted.
    Delete,
    /// It is not old enough.
    Young,
    /// It is a key that counts today.
    Present,
    /// A line may be left for which it is the only proof.
    Proof,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "old enough",
            Self::Young => "not old enough",
            Self::Present => "its key counts today",
            Self::Proof => "the only proof for a line that is left, or on a node that was not seen",
        })
    }
}

/// All private backups of a node, if backups are asked for. `left` is the keys of all lines that
/// stay; nothing, if some node was not seen.
pub(super) fn judge(
    scene: &Scene,
    wishes: &Wishes,
    sight: &Sight,
    left: Option<&HashSet<&Fingerprint>>,
) -> Vec<Backup> {
    let Some(before) = wishes.aside_before else {
        return Vec::new();
    };
    let private = sight.files.iter().filter(|f| f.private && f.is_backup());
    let fate = |file: &KeyFile| match &file.key {
        key if scene.current.contains_key(key) || scene.listed.contains(key) => Fate::Present,
        _ if file.modified >= before => Fate::Young,
        key if left.is_some_and(|left| !left.contains(key)) => Fate::Delete,
        _ => Fate::Proof,
    };
    private
        .map(|file| Backup {
            file: file.name.clone(),
            key: file.key.clone(),
            fate: fate(file),
        })
        .collect()
}
