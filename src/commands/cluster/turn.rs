//! One run at a time, and no more than one that waits for its turn. A change while a run is under way
//! leads to one more run, never to none. The locks go with their process; nothing is ever removed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The right to run, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _running: File,
}

/// Waits for it. Nothing, if another run of this kind waits already: it has not looked at anything
/// yet, so it will see what this one would.
pub(super) fn wait(dir: &Path, kind: &str) -> io::Result<Option<Turn>> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let waiting = open(&dir.join(format!("waiting-{kind}")))?;
    match flock(&waiting, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let running = open(&dir.join("running"))?;
    flock(&running, FlockOperation::LockExclusive)?;
    drop(waiting); // from here on a change is another run's
    Ok(Some(Turn { _running: running }))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_may_wait_as_soon_as_one_runs() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("turns");
        let turn = wait(&place, "all").unwrap().unwrap();
        let lock = |name: &str| {
            let file = open(&place.join(name)).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file)
        };
        assert!(lock("running").is_err());
        let waiting = lock("waiting-all").unwrap();
        assert!(wait(&place, "all").unwrap().is_none(), "one waits already");
        drop((turn, waiting));
        assert!(wait(&place, "all").unwrap().is_some());
    }
}
