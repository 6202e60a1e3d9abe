//! Deletes what the state directory remembers. The lock shows whether a proxy uses the directory:
//! then nothing is deleted, unless it is forced. Root runs this in a directory of another user, so
//! nothing outside of it is ever touched.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{learned, seat, sighted, state};
use crate::node::directory::Directory;

/// The lock's name in the state directory.
const LOCK: &str = "lock";

/// A lock that a proxy holds while it uses a state directory. It is shared, because an old and a
/// new process overlap in a restart.
#[derive(Debug)]
pub(super) struct InUse(File);

impl InUse {
    /// Marks the directory as used by this process.
    pub(super) fn mark(state_dir: &Path) -> io::Result<Self> {
        let directory = Directory::open(state_dir)?;
        let file = match directory.open_or_create(LOCK) {
            // Another user's, left by an older version's `reset` for instance. What nobody else
            // can open is of no use as a lock.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                directory.remove(OsStr::new(LOCK))?;
                directory.open_or_create(LOCK)
            }
            opened => opened,
        };
        let file = file.map_err(|error| named(&error))?;
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(Self(file))
    }

    /// Whether this is the lock that others find in the directory now.
    pub(super) fn is_of(&self, state_dir: &Path) -> bool {
        let found = std::fs::symlink_metadata(state_dir.join(LOCK));
        let is = |file: &std::fs::Metadata| (file.dev(), file.ino());
        matches!((self.0.metadata(), found), (Ok(held), Ok(found)) if is(&held) == is(&found))
    }
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Forgotten {
    /// Whether there was a last good map, or the digests of the certificates under which there was
    /// one.
    pub(crate) map: bool,
    /// How many learned certificates there were.
    pub(crate) learned: usize,
    /// Whether it was kept which certificate was seen from which node.
    pub(crate) sightings: bool,
    /// Whether the name of the master was kept (with rules in `[policy]`).
    pub(crate) master: bool,
}

/// Deletes the last good map with its latch, the learned certificates, the sightings and the name
/// of the master. Nothing and `None`, if a proxy uses the directory and `force` is not given.
pub(crate) fn forget(state_dir: &Path, force: bool) -> io::Result<Option<Forgotten>> {
    let directory = Directory::open(state_dir)?;
    let lock = directory.open_or_create(LOCK);
    let lock = lock.map_err(|error| named(&error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) if force => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let learned = learned::forget_all(&directory)?;
    let sightings = directory.remove(sighted::NAME.as_ref())?;
    let master = directory.remove(seat::NAME.as_ref())?;
    // The latch last: if one of the others fails, nothing opens.
    let map = directory.remove(state::MAP.as_ref())?;
    let latch = directory.remove(state::LATCH.as_ref())?;
    Ok(Some(Forgotten {
        map: map || latch,
        learned,
        sightings,
        master,
    }))
}

fn named(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{LOCK}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_in_use_is_left_alone_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let files = [state::MAP, state::LATCH].map(|name| dir.path().join(name));
        files.iter().for_each(|file| fs::write(file, "x").unwrap());
        fs::write(dir.path().join(seat::NAME), "n1\n").unwrap();
        fs::write(dir.path().join(sighted::NAME), "x").unwrap();
        fs::create_dir(dir.path().join("learned")).unwrap();
        fs::write(dir.path().join("learned/AA.pem"), "x").unwrap();
        let (one, two) = (InUse::mark(dir.path()), InUse::mark(dir.path()));
        assert!(one.is_ok() && two.is_ok(), "two processes in a restart");
        assert_eq!(forget(dir.path(), false).unwrap(), None);
        assert!(files.iter().all(|file| file.exists()));
        let all = Forgotten {
            map: true,
            learned: 1,
            sightings: true,
            master: true,
        };
        assert_eq!(forget(dir.path(), true).unwrap(), Some(all));
        assert!(!files.iter().any(|file| file.exists()));
        drop((one, two));
        assert_eq!(
            forget(dir.path(), false).unwrap(),
            Some(Forgotten::default())
        );
    }

    #[test]
    fn nothing_outside_the_directory_is_touched() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("AA.pem");
        fs::write(&victim, "x").unwrap();
        symlink(outside.path(), dir.path().join("learned")).unwrap();
        symlink(&victim, dir.path().join(state::MAP)).unwrap();
        assert!(forget(dir.path(), false).is_err(), "learned is a link");
        fs::remove_file(dir.path().join("learned")).unwrap();
        assert!(forget(dir.path(), false).unwrap().unwrap().map);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "x");
        fs::remove_file(dir.path().join(LOCK)).unwrap();
        symlink(outside.path().join("new"), dir.path().join(LOCK)).unwrap();
        let refused = forget(dir.path(), true).unwrap_err().to_string();
        assert!(refused.contains("lock: a symbolic link"), "{refused}");
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn a_lock_that_was_removed_or_replaced_is_not_held_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let held = InUse::mark(dir.path()).unwrap();
        assert!(held.is_of(dir.path()));
        fs::remove_file(dir.path().join(LOCK)).unwrap();
        assert!(!held.is_of(dir.path()));
        let _new = InUse::mark(dir.path()).unwrap();
        assert!(!held.is_of(dir.path()));
    }
}
