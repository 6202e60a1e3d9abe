//! Deletes what the state directory remembers. The lock shows whether a proxy uses the directory:
//! then nothing is deleted, unless it is forced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{learned, seat, state};

/// A lock that a proxy holds while it uses a state directory. It is shared, because an old and a
/// new process overlap in a restart.
#[derive(Debug)]
pub(super) struct InUse(#[allow(dead_code, reason = "held until it is dropped")] File);

impl InUse {
    /// Marks the directory as used by this process.
    pub(super) fn mark(state_dir: &Path) -> io::Result<Self> {
        let file = lock_file(state_dir)?;
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(Self(file))
    }
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Forgotten {
    /// Whether there was a last good map.
    pub(crate) map: bool,
    /// How many learned certificates there were.
    pub(crate) learned: usize,
    /// Whether the name of the master was kept (with rules in `[policy]`).
    pub(crate) master: bool,
}

/// Deletes the last good map, the learned certificates and the name of the master. Returns `None`,
/// and deletes nothing, if a proxy uses the directory and `force` is not given.
pub(crate) fn forget(state_dir: &Path, force: bool) -> io::Result<Option<Forgotten>> {
    let lock = lock_file(state_dir)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) if force => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut forgotten = Forgotten::default();
    for path in learned::files_in(state_dir) {
        forgotten.learned += usize::from(remove(&path)?);
    }
    forgotten.master = remove(&state_dir.join(seat::NAME))?;
    forgotten.map = remove(&state_dir.join(state::NAME))?;
    Ok(Some(forgotten))
}

fn remove(path: &PathBuf) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn lock_file(state_dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options.open(state_dir.join("lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_left_alone_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join(state::NAME);
        fs::write(&map, "x").unwrap();
        fs::write(dir.path().join(seat::NAME), "n1\n").unwrap();
        fs::create_dir(dir.path().join("learned")).unwrap();
        fs::write(dir.path().join("learned/AA.pem"), "x").unwrap();
        let (one, two) = (InUse::mark(dir.path()), InUse::mark(dir.path()));
        assert!(one.is_ok() && two.is_ok(), "two processes in a restart");
        assert_eq!(forget(dir.path(), false).unwrap(), None);
        assert!(map.exists());
        let all = Forgotten {
            map: true,
            learned: 1,
            master: true,
        };
        assert_eq!(forget(dir.path(), true).unwrap(), Some(all));
        drop((one, two));
        assert_eq!(
            forget(dir.path(), false).unwrap(),
            Some(Forgotten::default())
        );
    }
}
