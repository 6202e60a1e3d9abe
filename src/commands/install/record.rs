//! What an installation remembers for the way back: the file as it was and as it was left.
//!
//! It is kept in a directory of root's own and not in the proxy's state directory: root would write
//! back whatever the proxy's user had put there. A directory that others may write in is refused.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::change::Was;
use super::place;
use crate::node::files::replace;

/// Where it is kept, unless somebody says otherwise.
pub(in crate::commands) const UNDO_DIR: &str = "/var/lib/noded-proxy-install";
/// Is there while steps are done, if noded ran before.
const AT_WORK: &str = "at-work";

/// The place of Ganeti's program for transfers, where `install --moves` has been.
const MOVES: &str = "moves";

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The file.
    pub(super) path: PathBuf,
    /// What `NODED_ARGS` was; nothing for a file that is the installation's own.
    pub(super) was: Option<Was>,
    /// Whether the file was there.
    existed: bool,
    #[serde(skip)]
    before: Vec<u8>,
    /// The file as it was left.
    #[serde(skip)]
    pub(super) written: Vec<u8>,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Keep {
    directory: PathBuf,
    /// Held while it is used.
    lock: Option<File>,
}

impl Record {
    pub(super) fn new(
        path: &Path,
        was: Option<Was>,
        before: Option<&[u8]>,
        written: &[u8],
    ) -> Self {
        Self {
            path: path.to_owned(),
            was,
            existed: before.is_some(),
            before: before.unwrap_or_default().to_vec(),
            written: written.to_vec(),
        }
    }

    /// The same way back, from another text.
    pub(super) fn renewed(&self, written: &[u8]) -> Self {
        Self {
            written: written.to_vec(),
            ..self.clone()
        }
    }

    /// Whether it is of this file: noded's arguments may be looked for elsewhere by now.
    pub(super) fn is_of(&self, path: &Path) -> Result<(), String> {
        let (own, other) = (self.path.display(), path.display());
        (self.path == path).then_some(()).ok_or_else(|| {
            format!(
                "`install` has changed {own}, and noded's arguments are looked for in {other} now: \
                 give --noded-defaults {own}, or change it back by hand and remove what --undo-dir \
                 keeps of it"
            )
        })
    }

    /// The file as it was before; nothing if it was not there.
    pub(super) fn before(&self) -> Option<&[u8]> {
        self.existed.then_some(&*self.before)
    }
}

impl Keep {
    /// Takes the directory for itself, if there is one.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        let name = directory.display();
        let lock = match fs::metadata(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{name}: {error}")),
            Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 || !found.is_dir() => {
                return Err(format!(
                    "{name}: it must be a directory that only root may write in"
                ));
            }
            Ok(_) => Some(locked(directory)?),
        };
        Ok(Self {
            directory: directory.to_owned(),
            lock,
        })
    }

    pub(super) fn load(&self) -> Result<Option<Record>, String> {
        let read = |name| place::read(&self.directory.join(name));
        let Some(text) = read("record")? else {
            return Ok(None);
        };
        let mut record: Record = serde_json::from_slice(&text)
            .map_err(|error| format!("{}/record: {error}", self.directory.display()))?;
        record.before = read("before")?.unwrap_or_default();
        record.written = read("written")?.unwrap_or_default();
        Ok(Some(record))
    }

    /// Whether an earlier run, which had noded to restart, has not come to its end.
    pub(super) fn is_at_work(&self) -> bool {
        self.directory.join(AT_WORK).exists()
    }

    /// Writes the place down.
    pub(super) fn remember_moves(&mut self, place: &Path) -> Result<(), String> {
        self.make()?;
        let text = [place.as_os_str().as_encoded_bytes(), b"\n"].concat();
        let done = replace(&self.directory.join(MOVES), &text);
        done.map_err(|error| self.failed(&error))
    }

    pub(super) fn forget_moves(&mut self) -> Result<(), String> {
        self.remove(&[MOVES])
    }

    /// From now on noded may be down.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.make()?;
        let done = File::create(self.directory.join(AT_WORK));
        done.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Whatever was begun is done, or taken back.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.remove(&[AT_WORK])
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.directory.display())
    }

    fn make(&mut self) -> Result<(), String> {
        if self.lock.is_none() {
            let made = DirBuilder::new().mode(0o700).create(&self.directory);
            made.map_err(|error| self.failed(&error))?;
            self.lock = Some(locked(&self.directory)?);
        }
        Ok(())
    }

    /// Removes these files, and the directory if nothing is left in it.
    fn remove(&mut self, names: &[&str]) -> Result<(), String> {
        let paths = names.iter().map(|name| self.directory.join(name));
        let removed = paths.map(fs::remove_file);
        let failed = removed.filter_map(Result::err);
        if let Some(error) = failed
            .into_iter()
            .find(|error| error.kind() != ErrorKind::NotFound)
        {
            return Err(self.failed(&error));
        }
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(&error)),
            _ => {
                self.lock = None;
                Ok(())
            }
        }
    }

    pub(super) fn save(&mut self, record: &Record) -> Result<(), String> {
        self.make()?;
        let text = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        for (name, content) in [
            ("before", &record.before),
            ("written", &record.written),
            ("record", &text), // last: without it there is nothing
        ] {
            let done = replace(&self.directory.join(name), content);
            done.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    pub(super) fn forget(&mut self) -> Result<(), String> {
        self.remove(&["record", "before", "written"])
    }
}

/// The place that is written down in this directory.
pub(in crate::commands) fn moves_of(directory: &Path) -> Result<Option<PathBuf>, String> {
    let text = place::read(&directory.join(MOVES))?;
    let path = |text: Vec<u8>| PathBuf::from(OsStr::from_bytes(text.trim_ascii_end()));
    Ok(text.map(path))
}

fn locked(directory: &Path) -> Result<File, String> {
    let file = File::open(directory).map_err(|error| error.to_string())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another install or uninstall is at work on this node")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_byte_for_byte() {
        if !rustix::process::geteuid().is_root() {
            return; // the directory must be root's
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keep");
        let mut keep = Keep::open(&path).unwrap();
        assert_eq!(keep.load(), Ok(None));
        let was = Some(Was::Value(b"'\xff'".to_vec()));
        for before in [Some(&b"\xff\0\n"[..]), None] {
            let record = Record::new(Path::new("/f"), was.clone(), before, b"new");
            keep.save(&record).unwrap();
            assert_eq!(keep.load(), Ok(Some(record.clone())));
            assert_eq!(record.before(), before);
        }
        let told = Keep::open(&path).unwrap_err();
        assert!(told.contains("another install"), "{told}");
        keep.forget().unwrap();
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let told = Keep::open(&path).unwrap_err();
        assert!(told.contains("only root"), "{told}");
    }
}
