//! Where long bodies wait: files without a name in the state directory. They are gone when they are
//! closed, also after a crash.
//!
//! Files block, so each step runs on a thread for that, never on a worker's event loop.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::{Budget, Lease, Refusal};
use rules::identity::Digest;

/// Bytes that stay free on the file system, for all others that write there.
const LEFT_FREE: u64 = 64 << 20;

/// Bytes that are written or read at a time.
pub(super) const PIECE: usize = 256 << 10;

/// Makes spool files, within a bound for all of them and for each peer.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    budget: Budget,
    unwritten: Arc<AtomicU64>,
}

/// Bytes of a file that are promised and not written yet.
#[derive(Debug)]
struct Unwritten {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Unwritten {
    fn new(all: &Arc<AtomicU64>, bytes: u64) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        let all = Arc::clone(all);
        Self { all, bytes }
    }

    fn more(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    fn less(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.less(self.bytes);
    }
}

/// A body on disk, or the part of it that is there already.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Arc<File>,
    directory: PathBuf,
    length: u64,
    lease: Lease,
    unwritten: Unwritten,
}

impl Spool {
    pub(super) fn new(directory: PathBuf, budget: Budget) -> Self {
        Self {
            directory,
            budget,
            unwritten: Arc::default(),
        }
    }

    /// Bytes that are kept for files now.
    pub(super) fn in_use(&self) -> u64 {
        self.budget.in_use()
    }

    /// An empty file with room for `bytes`. Waits until `deadline` for this peer's share.
    pub(super) async fn create(
        &self,
        peer: Digest,
        bytes: u64,
        deadline: Instant,
    ) -> Result<SpoolFile, Refusal> {
        let lease = timeout_at(deadline, self.budget.take(peer, bytes)).await;
        let lease = lease.map_err(|_| Refusal::SpoolFull)?;
        let directory = self.directory.clone();
        let unwritten = Unwritten::new(&self.unwritten, bytes);
        let promised = self.unwritten.load(Ordering::Relaxed);
        let file = blocking(move || {
            leave_free(&directory, promised)?;
            tempfile::tempfile_in(&directory)
        });
        Ok(SpoolFile {
            file: Arc::new(file.await?),
            directory: self.directory.clone(),
            length: 0,
            lease,
            unwritten,
        })
    }
}

impl SpoolFile {
    /// Writes the content of the buffer behind what is there, and returns the buffer, emptied. If
    /// there was no room kept for it, twice as much is kept as is there then, if its peer may have so
    /// much.
    pub(super) async fn append(&mut self, mut buffer: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let (file, begin, length) = (Arc::clone(&self.file), self.length, buffer.len() as u64);
        let needed = (begin + length).saturating_sub(self.lease.bytes());
        if needed > 0 {
            self.grow(needed, begin + length).await?;
        }
        let written = blocking(move || {
            file.write_all_at(&buffer, begin)?;
            buffer.clear();
            Ok(buffer)
        });
        let buffer = written.await?;
        self.length += length;
        self.unwritten.less(length);
        Ok(buffer)
    }

    /// It never waits for the peer's share: other bodies of that peer may be what it waits for.
    async fn grow(&mut self, needed: u64, spare: u64) -> Result<(), Refusal> {
        let sizes = [needed + spare, needed];
        let grown = sizes.into_iter().find(|bytes| self.lease.grow(*bytes));
        self.unwritten.more(grown.ok_or(Refusal::SpoolFull)?);
        let (directory, all) = (self.directory.clone(), Arc::clone(&self.unwritten.all));
        blocking(move || leave_free(&directory, all.load(Ordering::Relaxed))).await
    }

    /// No more is written: gives the unused room back.
    pub(super) fn finish(&mut self) {
        self.lease.shrink(self.length);
        self.unwritten.less(u64::MAX);
    }

    /// Fills the buffer with bytes from `begin` on, up to its length, and says with how many. It is
    /// an error if there are none.
    pub(super) async fn read(
        &self,
        begin: u64,
        mut buffer: Vec<u8>,
    ) -> Result<(Vec<u8>, usize), Refusal> {
        // Nearly always the kernel has them in memory.
        let at_once = {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            preadv2(&self.file, &mut slices, begin, ReadWriteFlags::NOWAIT)
        };
        if let Ok(count @ 1..) = at_once {
            return Ok((buffer, count));
        }
        let file = Arc::clone(&self.file);
        let read = blocking(move || match file.read_at(&mut buffer, begin)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok((buffer, count)),
        });
        read.await
    }
}

/// An error if `bytes` more, all that is promised, would fill the file system.
fn leave_free(directory: &Path, bytes: u64) -> io::Result<()> {
    let found = rustix::fs::statvfs(directory)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    match free >= bytes.saturating_add(LEFT_FREE) {
        true => Ok(()),
        false => Err(io::ErrorKind::StorageFull.into()),
    }
}

/// Runs one step on a thread that may block.
async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = spawn_blocking(step).await.unwrap_or_else(|error| {
        Err(io::Error::other(error)) // it panicked, or the runtime ends
    });
    done.map_err(|error| Refusal::SpoolFailed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn peer() -> Digest {
        Digest::of_der(b"peer")
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_the_directory_stays_empty() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().into(), Budget::new(4 << 20));
        let sent: Vec<u8> = (0..700_001_u32).map(|i| (i % 251) as u8).collect();
        let mut file = spool.create(peer(), 2 << 20, soon()).await.unwrap();
        let mut buffer = Vec::new();
        for piece in sent.chunks(100_000) {
            buffer.extend_from_slice(piece);
            buffer = file.append(buffer).await.unwrap();
            assert!(buffer.is_empty());
        }
        assert_eq!(spool.budget.in_use(), 2 << 20);
        file.finish();
        assert_eq!(spool.budget.in_use(), sent.len() as u64);
        let (mut read, mut buffer) = (Vec::new(), vec![0; 10_000]);
        while read.len() < sent.len() {
            let count;
            (buffer, count) = file.read(read.len() as u64, buffer).await.unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        assert!(read == sent);
        let error = file.read(read.len() as u64, buffer).await.unwrap_err();
        assert!(matches!(error, Refusal::SpoolFailed(_)), "{error}");
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        drop(file);
        assert_eq!(spool.budget.in_use(), 0);
    }

    #[tokio::test]
    async fn room_is_kept_as_it_is_needed_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().into(), Budget::new(1000));
        let mut file = spool.create(peer(), 10, soon()).await.unwrap();
        for (more, kept) in [(10, 10), (1, 22), (89, 200), (100, 200), (60, 260)] {
            file.append(vec![b' '; more]).await.unwrap();
            assert_eq!(spool.budget.in_use(), kept, "{more}");
        }
        let refused = file.append(vec![b' '; 241]).await.unwrap_err();
        assert!(matches!(refused, Refusal::SpoolFull), "{refused}");
        file.finish();
        assert_eq!(spool.in_use(), 260);
        drop(file);
        assert_eq!(
            (spool.in_use(), spool.unwritten.load(Ordering::Relaxed)),
            (0, 0)
        );
    }

    #[tokio::test]
    async fn faults_of_the_directory_have_words() {
        let gone = tempfile::tempdir().unwrap().path().join("gone");
        let spool = Spool::new(gone, Budget::new(100));
        let error = spool.create(peer(), 1, soon()).await.unwrap_err();
        assert!(matches!(error, Refusal::SpoolFailed(_)), "{error}");
        assert_eq!(spool.budget.in_use(), 0);
        let most = leave_free(Path::new("/"), u64::MAX).unwrap_err();
        assert_eq!(most.kind(), io::ErrorKind::StorageFull);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_share_is_waited_for_and_then_refused() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().into(), Budget::new(100));
        let _held = spool.budget.try_take(peer(), 50);
        let error = spool.create(peer(), 1, soon()).await.unwrap_err();
        assert_eq!(error, Refusal::SpoolFull);
    }
}
