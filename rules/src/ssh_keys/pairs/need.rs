//! What one node needs, in which phase of a run, and why a thing goes; in words. Nothing is decided
//! here.

use std::fmt;

use super::list::Pair;
use crate::shown::printable;
use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::sight::Line;

/// The phases of a run, in their order: nothing is taken away before all that replaces it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Pairs are made where they are needed, and wait.
    Make,
    /// Lines, lists and shared pairs are brought.
    Add,
    /// A candidate changes to its own pair.
    Switch,
    /// Lines and private halves go.
    Remove,
}

/// Why a line or a private half goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is the shared pair's, on a node that is no candidate.
    Shared,
    /// It is the shared pair's, and each candidate has one of its own.
    Replaced,
    /// It is that of a node that is no candidate.
    NoCandidate,
    /// Its node has another pair by now.
    Former,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "the shared pair is for the master and the candidates alone",
            Self::Replaced => "each candidate has a pair of its own",
            Self::NoCandidate => "its node is no master candidate",
            Self::Former => "its node has another pair by now",
        })
    }
}

/// What a node needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A pair of its own, made there.
    Make,
    /// The line of this node's pair.
    Add(String, Pair),
    /// The shared pair.
    Give,
    /// The list of all pairs as it is now.
    List,
    /// To change to the pair that waits there.
    Switch,
    /// The same, but not before this has happened.
    Wait(String),
    /// To lose this line.
    Remove(Line, Why),
    /// To lose each private half of this key, this file among them, and the public one beside it.
    Take(Fingerprint, String, Why),
    /// To lose the pair that waits there.
    Unstage,
}

impl Need {
    /// When it is done; never, if it waits.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Make => Some(Phase::Make),
            Self::Add(..) | Self::Give | Self::List => Some(Phase::Add),
            Self::Switch => Some(Phase::Switch),
            Self::Wait(_) => None,
            Self::Remove(..) | Self::Take(..) | Self::Unstage => Some(Phase::Remove),
        }
    }
}

/// In words: what is done, with what, and why if that is not plain.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make => write!(
                f,
                "make     a pair of its own; in use when all nodes know it"
            ),
            Self::Add(node, pair) => write!(f, "add      {}: {}", printable(node), pair.key),
            Self::Give => write!(f, "bring    the shared pair: it is a master candidate"),
            Self::List => write!(f, "note     who has which pair"),
            Self::Switch => write!(f, "change   to its own pair"),
            Self::Wait(why) => write!(f, "wait     {}", printable(why)),
            Self::Remove(line, why) => {
                let (path, comment) = (printable(&line.path), printable(&line.comment));
                let (number, key) = (line.number, &line.key);
                write!(
                    f,
                    "remove   {path} line {number}: {key} {comment}\n           {why}"
                )
            }
            Self::Take(_, file, why) => {
                write!(f, "delete   {}\n           {why}", printable(file))
            }
            Self::Unstage => write!(f, "delete   the pair that was made for it and never used"),
        }
    }
}
