//! Keeps the last good candidate map over restarts, in one file in the state directory.
//!
//! Format: a first line `noded-proxy last good map, version 1, server DIGEST`, then the map as
//! Ganeti writes it. The map is bound to the digest of `server.pem`. So a restart never leads back
//! into the bootstrap phase, and a node that joins another cluster starts afresh.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::node::files::{self, FileContent};
use rules::admission::LastGood;
use rules::candidates::{MAX_BYTES, MapFile, parse};

const HEAD: &str = "noded-proxy last good map, version 1, server ";

/// The state file's name in the state directory.
pub(super) const NAME: &str = "last-good-map";

/// What the state directory remembers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SavedMap {
    /// Nothing.
    Nothing,
    /// The last good map.
    Map(LastGood),
    /// There is a file, but it cannot be read back. It shows that a map was once seen, so the
    /// bootstrap phase stays closed until there is a good map again.
    Damaged(String),
}

/// The state file.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    writes: bool,
    written: Option<LastGood>,
}

impl State {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(NAME),
            writes: true,
            written: None,
        }
    }

    /// The same, but the file is never touched.
    pub(super) fn read_only(self) -> Self {
        Self {
            writes: false,
            ..self
        }
    }

    /// Reads what was kept.
    pub(crate) fn load(&mut self) -> SavedMap {
        let remembered = match files::read(&self.path, MAX_BYTES + 1024) {
            FileContent::Absent => SavedMap::Nothing,
            FileContent::TooLarge => SavedMap::Damaged("it is too large".into()),
            FileContent::Unreadable(why) => SavedMap::Damaged(why),
            FileContent::Content(content) => match decode(&content) {
                Some(good) => SavedMap::Map(good),
                None => SavedMap::Damaged("it is not a state file of this program".into()),
            },
        };
        if let SavedMap::Map(good) = &remembered {
            self.written = Some(good.clone());
        }
        remembered
    }

    /// Writes the last good map, or deletes the file. Does nothing if the file is up to date.
    pub(super) fn keep(&mut self, last_good: Option<&LastGood>) -> io::Result<()> {
        if !self.writes || self.written.as_ref() == last_good {
            return Ok(());
        }
        match last_good {
            Some(good) => self.write(good)?,
            None => remove(&self.path)?,
        }
        self.written = last_good.cloned();
        Ok(())
    }

    /// Deletes the file, damaged or not.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.written = None;
        if self.writes {
            remove(&self.path)
        } else {
            Ok(())
        }
    }

    /// The file's path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, good: &LastGood) -> io::Result<()> {
        let content = format!("{HEAD}{}\n{}", good.server, good.map);
        files::replace(&self.path, content.as_bytes())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn decode(content: &[u8]) -> Option<LastGood> {
    let end = content.iter().position(|b| *b == b'\n')?;
    let server = std::str::from_utf8(&content[..end])
        .ok()?
        .strip_prefix(HEAD)?
        .parse()
        .ok()?;
    match parse(&content[end + 1..]) {
        MapFile::Listed(map) => Some(LastGood {
            server,
            map: Arc::new(map),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::identity::Digest;

    fn good(server: u8) -> LastGood {
        let text = format!(
            "u1={}\nu2={}\n",
            Digest::from_bytes([1; 20]),
            Digest::from_bytes([2; 20])
        );
        match parse(text.as_bytes()) {
            MapFile::Listed(map) => LastGood {
                server: Digest::from_bytes([server; 20]),
                map: Arc::new(map),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_kept_is_read_back_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::new(dir.path());
        assert_eq!(state.load(), SavedMap::Nothing);
        state.keep(Some(&good(9))).unwrap();
        assert_eq!(State::new(dir.path()).load(), SavedMap::Map(good(9)));
        state.keep(None).unwrap();
        assert_eq!(State::new(dir.path()).load(), SavedMap::Nothing);
    }

    #[test]
    fn a_damaged_file_is_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::new(dir.path());
        state.keep(Some(&good(9))).unwrap();
        let whole = fs::read(state.path()).unwrap();
        for cut in [0, 10, HEAD.len() + 59, whole.len() - 5] {
            fs::write(state.path(), &whole[..cut]).unwrap();
            assert!(
                matches!(State::new(dir.path()).load(), SavedMap::Damaged(_)),
                "cut at {cut}"
            );
        }
    }
}
