//! One authorized key: kept, removed with a proof, or only told.
//!
//! The order is from the top down, and what keeps a key comes first. A proof by a file counts on the
//! node itself, and elsewhere for lines that bear that node's name: so a node that lies can take away
//! what is called its own, and nothing else. Nor can it keep what is proven to be another's.

use std::fmt;

use super::scene::{Files, Scene, Wishes};
use super::sight::{KeyFile, Line};
use crate::shown::printable;

/// What is done with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// It stays, and somebody should know.
    Told(Kept),
    /// It goes.
    Remove(Proof),
}

/// Why a line stays although it is no present key of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Somebody wrote options in front of it: it is not Ganeti's line.
    Options,
    /// A node holds its private half, and not as a backup.
    InUse {
        /// The node.
        node: String,
        /// The file.
        file: String,
    },
    /// Another node than the comment's has a backup of it.
    BackupElsewhere {
        /// The node.
        node: String,
    },
    /// Its comment alone says whose it was.
    CommentOnly {
        /// The node.
        node: String,
    },
    /// The node that its comment names was not seen, or has private keys that cannot be read.
    Unsure {
        /// The node.
        node: String,
    },
    /// Nothing says that it ever was a node's.
    Stranger,
}

/// How it is known that a key was a node's and is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Its other half is in a backup on that node, which has signed with it.
    Backup {
        /// The node.
        node: String,
        /// The file.
        file: String,
    },
    /// Its comment names a node that has another key now.
    Comment {
        /// The node.
        node: String,
    },
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options => f.write_str("it has options, so it is not Ganeti's line"),
            Self::InUse { node, file } => {
                let (node, file) = (printable(node), printable(file));
                write!(f, "{node} uses it ({file})")
            }
            Self::BackupElsewhere { node } => {
                let node = printable(node);
                write!(
                    f,
                    "{node} has a backup of it, but its comment names another"
                )
            }
            Self::CommentOnly { node } => {
                let node = printable(node);
                write!(
                    f,
                    "only its comment says that it was {node}'s (--by-comment)"
                )
            }
            Self::Unsure { node } => {
                write!(f, "nobody can say whether {} uses it", printable(node))
            }
            Self::Stranger => f.write_str("nothing says that it was a node's"),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup { node, file } => {
                let (node, file) = (printable(node), printable(file));
                write!(f, "a former key of {node}: it is in {file} there")
            }
            Self::Comment { node } => {
                let node = printable(node);
                write!(
                    f,
                    "a former key of {node} by its comment: that has another one now"
                )
            }
        }
    }
}

/// What is done with a line on this node.
pub(super) fn judge(
    scene: &Scene,
    files: &Files<'_>,
    wishes: &Wishes,
    on: &str,
    line: &Line,
) -> Verdict {
    let key = &line.key;
    if scene.listed.contains(key) || scene.current.contains_key(key) {
        return Verdict::Good;
    }
    let files = files.with(key);
    let named = scene.named(&line.comment);
    let mut backups = files.iter().filter(|(_, file)| file.is_backup());
    let elsewhere = backups.clone().next().map(|(node, _)| *node);
    // On the node itself root's own word counts, whatever the comment.
    // Elsewhere a public half proves nothing: every node has those of all authorized keys.
    let proves = |node: &str, file: &KeyFile| file.proven && (node == on || named == Some(node));
    let proof = backups.find(|(node, file)| proves(node, file));
    // Whoever may read authorized_keys can say that he uses a key. Root's bare word counts here, where
    // the key is said to have been, and on a candidate; elsewhere a signature does, and that not
    // against another's.
    let counts = |node: &str, file: &KeyFile| match proof {
        _ if node == on || named == Some(node) || scene.is_trusted(node) => true,
        Some((was, _)) => *was == node,
        None => file.proven || !wishes.by_comment,
    };
    let used =
        |(node, file): &&(&str, &KeyFile)| file.private && !file.is_backup() && counts(node, file);
    if let Some((node, file)) = files.iter().find(used) {
        return Verdict::Told(Kept::InUse {
            node: (*node).into(),
            file: file.name.clone(),
        });
    }
    if line.options {
        return Verdict::Told(Kept::Options);
    }
    if let Some((node, file)) = proof {
        return Verdict::Remove(Proof::Backup {
            node: (*node).into(),
            file: file.name.clone(),
        });
    }
    without_file(scene, wishes, named, elsewhere)
}

/// No file proves anything: there may be a comment.
fn without_file(
    scene: &Scene,
    wishes: &Wishes,
    named: Option<&str>,
    elsewhere: Option<&str>,
) -> Verdict {
    let Some(node) = named else {
        return Verdict::Told(match elsewhere {
            Some(node) => Kept::BackupElsewhere { node: node.into() },
            None => Kept::Stranger,
        });
    };
    let node = node.to_owned();
    let seen = scene.nodes.get(&node).and_then(|said| said.as_ref().ok());
    let is_sure = seen.is_some_and(|sight| sight.unknown == 0) && scene.has_current(&node);
    match (is_sure, wishes.by_comment) {
        (false, _) => Verdict::Told(Kept::Unsure { node }),
        (true, false) => Verdict::Told(Kept::CommentOnly { node }),
        (true, true) => Verdict::Remove(Proof::Comment { node }),
    }
}
