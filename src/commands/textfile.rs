//! A file for node_exporter's textfile collector: whole or not at all, readable for everybody, and
//! nothing else is written.

use std::io;
use std::path::Path;

use rustix::fs::Mode;

use crate::node::directory::Directory;

/// Writes the file.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("not a file"))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mode = Mode::from_raw_mode(0o644);
    Directory::open(directory)?.replace(name, text.as_bytes(), mode)
}
