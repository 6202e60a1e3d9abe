//! How `verify` reads a node: the files of this machine or of a recorded tree, or what another node
//! has told of its own. It never writes.

use std::io;
use std::path::Path;

use super::tree::{About, Content, Tree};

/// What a node told of a private key that it did not send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Half {
    /// The public half, in the form that the node's own tool has written.
    Public(Vec<u8>),
    /// Its tool could not make one.
    Unreadable,
    /// It has no such tool.
    Unknown,
}

/// Somewhere to read a node's files. Paths are those of the node.
pub trait Reading {
    /// Reads a regular file of at most `limit` bytes.
    fn read(&self, path: &Path, limit: usize) -> Content;

    /// What the system says of a path, behind all links.
    fn about(&self, path: &Path) -> Option<About>;

    /// The names in a directory, sorted.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// User and group of whoever recorded the files; nobody, if they are the node's own.
    fn recorder(&self) -> Option<(u32, u32)> {
        None
    }

    /// What stands for the private key in a file; nothing where the file itself can be read.
    fn half(&self, _path: &Path) -> Option<&Half> {
        None
    }
}

impl Reading for Tree {
    fn read(&self, path: &Path, limit: usize) -> Content {
        self.read(path, limit)
    }

    fn about(&self, path: &Path) -> Option<About> {
        self.about(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.names(directory)
    }

    fn recorder(&self) -> Option<(u32, u32)> {
        self.recorder()
    }
}
