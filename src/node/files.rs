//! Reads files that others write: bounded, regular files only, and whole or not at all. Writes the
//! proxy's own files. It never interprets their content.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::directory::Directory;

/// Tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a path; `None` if the path cannot be examined.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Stamp {
    fn from(m: &Metadata) -> Self {
        Self {
            inode: m.ino(),
            size: m.size(),
            mode: m.mode(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }
}

/// What was found at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// Nothing.
    Absent,
    /// More bytes than the limit.
    TooLarge,
    /// A file that cannot be read, or is not a regular file, with the reason.
    Unreadable(String),
    /// The content. It may be a private key, so it is wiped when it is dropped.
    Content(Zeroizing<Vec<u8>>),
}

/// Reads a regular file of at most `limit` bytes. Never blocks on a FIFO or device.
pub(crate) fn read(path: &Path, limit: usize) -> FileContent {
    match read_whole(path, limit) {
        Ok(Some(content)) => FileContent::Content(content),
        Ok(None) => FileContent::TooLarge,
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileContent::Absent,
        Err(error) => FileContent::Unreadable(error.to_string()),
    }
}

fn read_whole(path: &Path, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    whole(&file, limit)
}

/// The content of an open regular file; `None` if it has more than `limit` bytes.
pub(super) fn whole(file: &File, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    // Large enough at once: what a vector leaves behind when it grows is not wiped.
    let room = before.len().min(limit as u64) as usize + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit as u64 + 1).read_to_end(&mut content)?;
    if content.len() > limit {
        return Ok(None);
    }
    // If somebody wrote while it was read, the content may be a mixture of old and new.
    if Stamp::from(&before) != Stamp::from(&file.metadata()?) {
        return Err(io::Error::other("the file changed while it was read"));
    }
    Ok(Some(content))
}

/// Reads what somebody names on the command line: a file, or a pipe (`<(ssh NODE cat FILE)`), which
/// is waited for. More than 1 MiB is an error.
pub(crate) fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: usize = 1 << 20;
    let mut content = Vec::new();
    let mut bounded = File::open(path)?.take(MOST as u64 + 1);
    bounded.read_to_end(&mut content)?;
    match content.len() > MOST {
        true => Err(io::Error::other("more than 1 MiB")),
        false => Ok(content),
    }
}

/// Writes one of the proxy's own files with mode 0600: whole or not at all, even in a crash.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_if(path, content, || true).map(|_| ())
}

/// The same, if this still holds at the end: the writing takes its time, and others write, too.
pub(crate) fn replace_if(
    path: &Path,
    content: &[u8],
    holds: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    Directory::open(directory)?.replace_if(name, content, Mode::RUSR | Mode::WUSR, holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_names_is_read_within_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_named(&path).unwrap(), b"0123456789");
        let endless = read_named(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "more than 1 MiB");
    }

    #[test]
    fn what_others_write_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"old").unwrap();
        let changed = || {
            fs::write(&path, b"theirs").unwrap();
            fs::read(&path).unwrap() == b"old"
        };
        assert!(!replace_if(&path, b"new", changed).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert!(replace_if(&path, b"new", || true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_a_readable_regular_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert!(matches!(read(&path, 10), FileContent::Absent));
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(&path, 10), FileContent::Unreadable(why) if why.contains("regular")));
        fs::remove_dir(&path).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        assert!(matches!(read(&path, 10), FileContent::Unreadable(why) if why.contains("regular")));
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"0123456789").unwrap();
        assert!(matches!(read(&path, 10), FileContent::Content(c) if **c == *b"0123456789"));
        assert!(matches!(read(&path, 9), FileContent::TooLarge));
    }
}
