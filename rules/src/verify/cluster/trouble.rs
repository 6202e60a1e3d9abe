//! A node that could not be looked at, or only in another way, as a finding on it.

use crate::verify::finding::Finding;
use crate::verify::ids::Id;

/// Why a node was not looked at as it should be. The text may be a stranger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// ssh does not reach it, or it did not answer in time.
    Unreachable(String),
    /// What it answered is no answer.
    Answer(String),
    /// Its own program did not say what it sees.
    Mute(String),
    /// It has no such program.
    WithoutProxy,
}

impl Trouble {
    /// As a finding on the node of this name.
    pub fn finding(&self, node: &str) -> Finding {
        let (id, what) = match self {
            Self::Unreachable(why) => (Id::NodeUnreachable, why.as_str()),
            Self::Answer(why) => (Id::NodeAnswer, why.as_str()),
            Self::Mute(why) => (Id::NodeMute, why.as_str()),
            Self::WithoutProxy => (Id::NodeWithoutProxy, "its shell finds no such program"),
        };
        Finding::new(id, node, what)
    }
}
