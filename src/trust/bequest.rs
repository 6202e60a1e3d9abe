//! What a process remembers, for the one that takes over from it: also what it could not write to
//! the state directory. Each side may be of another version. It never has a key in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All of it, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bequest {
    /// The digests of the certificates under which there was a map, as in the file.
    pub(super) latch: Option<String>,
    /// The last good map, as in the file.
    pub(super) map: Option<String>,
    /// A file that could not be read back, and why: the bootstrap phase is closed.
    pub(super) damaged: Option<(PathBuf, String)>,
    /// The master in which the node believes.
    pub(super) seat: KeptSeat,
}

/// The seat of the last reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeptSeat {
    /// As in the file.
    pub(super) master: Option<String>,
    /// Whether the file does not say so, because it could not be written.
    pub(super) unsaved: bool,
    /// Whether the node was in no cluster.
    pub(super) away: bool,
}
