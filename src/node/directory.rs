//! One directory of the proxy's own, or one that root named, and safe ways to change what is in it.
//!
//! Commands run as root in directories that belong to others. So nothing here ever follows a
//! symbolic link below the directory, opens anything but a regular file, or leaves a file to root
//! that is not root's directory. It never interprets content.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, StatVfsMountFlags, Uid, fchmod, fchown,
    fstat, fstatvfs, fsync, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

/// Bytes of a try to write.
const TRIAL: [u8; 4096] = [0; 4096];

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    owner: (u32, u32),
}

impl Directory {
    /// The directory at a path that the administrator named: links that lead there are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::of(openat(CWD, path, FLAGS | OFlags::DIRECTORY, Mode::empty())?)
    }

    fn of(fd: OwnedFd) -> io::Result<Self> {
        let found = fstat(&fd)?;
        let owner = (found.st_uid, found.st_gid);
        Ok(Self { fd, owner })
    }

    /// A directory in this one.
    pub(crate) fn inside(&self, name: &str) -> io::Result<Self> {
        let flags = FLAGS | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        Self::of(openat(
            &self.fd,
            plain(OsStr::new(name))?,
            flags,
            Mode::empty(),
        )?)
    }

    /// A directory in this one, which is made if there is none.
    pub(crate) fn inside_or_made(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.fd, plain(OsStr::new(name))?, Mode::RWXU) {
            Ok(()) => {
                let made = self.inside(name)?;
                self.keep_owner(&made.fd)?;
                Ok(made)
            }
            Err(Errno::EXIST) => self.inside(name),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of all that is in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Writes a file whole or not at all, even in a crash. What was there before, a link for
    /// instance, is replaced and not followed.
    pub(crate) fn replace(&self, name: &OsStr, content: &[u8], mode: Mode) -> io::Result<()> {
        self.replace_if(name, content, mode, || true).map(|_| ())
    }

    /// The same, if this still holds when the new file only needs its name. Returns whether it did.
    pub(crate) fn replace_if(
        &self,
        name: &OsStr,
        content: &[u8],
        mode: Mode,
        holds: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        let mut new = plain(name)?.to_owned();
        new.push(".new");
        let written = self.create(&new, mode).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            let holds = holds();
            if holds {
                renameat(&self.fd, &*new, &self.fd, name)?;
            }
            Ok(holds)
        });
        if !matches!(written, Ok(true)) {
            let _ = self.remove(&new); // half a file would only take the room that is lacking
            return written;
        }
        fsync(&self.fd)?;
        written
    }

    /// Removes a file, or a link and not what it leads to. Returns whether there was one.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<bool> {
        match unlinkat(&self.fd, plain(name)?, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            // On a read-only file system this comes even if there is no such file.
            Err(Errno::ROFS) if self.look(name).is_none() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file to read and write, and makes it if there is none. Its content stays, also of one
    /// that somebody else makes at the same time.
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<File> {
        loop {
            if let Some(file) = self.open_if_there(name)? {
                return Ok(file);
            }
            match self.create_new(plain(OsStr::new(name))?, Mode::RUSR | Mode::WUSR) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
    }

    /// Opens a file to read and write; nothing if there is none.
    pub(crate) fn open_if_there(&self, name: &str) -> io::Result<Option<File>> {
        let name = plain(OsStr::new(name))?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => regular(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(io::Error::other("a symbolic link, which is not followed")),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file to read.
    pub(crate) fn open_to_read(&self, name: &str) -> io::Result<File> {
        let flags = FLAGS | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        regular(openat(
            &self.fd,
            plain(OsStr::new(name))?,
            flags,
            Mode::empty(),
        )?)
    }

    /// What has this name, itself and not what it leads to; nothing if it cannot be examined.
    pub(crate) fn look(&self, name: &OsStr) -> Option<Stat> {
        rustix::fs::statat(&self.fd, plain(name).ok()?, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &str) -> io::Result<()> {
        let name = plain(OsStr::new(name))?;
        Ok(unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Whether something can be written here now: looks, and writes nothing.
    pub(crate) fn looks_writable(&self) -> io::Result<()> {
        if fstat(&self.fd)?.st_nlink == 0 {
            return Err(Errno::NOENT.into()); // it was removed meanwhile
        }
        let system = fstatvfs(&self.fd)?;
        if system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(Errno::ROFS.into());
        }
        // Some file systems count neither blocks nor files.
        let full = |all: u64, left: u64| all > 0 && left == 0;
        if full(system.f_blocks, system.f_bavail) || full(system.f_files, system.f_favail) {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    /// Whether something can be written here now: writes a few bytes, and leaves nothing behind.
    pub(crate) fn try_write(&self) -> io::Result<()> {
        self.looks_writable()?;
        let (flags, mode) = (OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        match openat(&self.fd, ".", flags | OFlags::TMPFILE, mode) {
            Ok(unnamed) => write_trial(File::from(unnamed)),
            // Not every file system has unnamed files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let name = OsStr::new("trial");
                let written = self.create(name, mode).and_then(write_trial);
                self.remove(name)?;
                written
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A new file with the owner of the directory. What had its name is removed.
    fn create(&self, name: &OsStr, mode: Mode) -> io::Result<File> {
        match self.create_new(name, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(name)?;
                self.create_new(name, mode)
            }
            made => made,
        }
    }

    /// The same, if nothing has its name.
    fn create_new(&self, name: &OsStr, mode: Mode) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(&self.fd, name, flags | OFlags::CLOEXEC, mode)?;
        fchmod(&file, mode)?; // what noded starts has its umask, 077
        self.keep_owner(&file)?;
        Ok(file.into())
    }

    /// What root makes belongs to the owner of the directory.
    fn keep_owner(&self, made: impl std::os::fd::AsFd) -> io::Result<()> {
        let (user, group) = self.owner;
        if rustix::process::geteuid().is_root() && self.owner != (0, 0) {
            fchown(made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        Ok(())
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// A name, and never a path: that would lead through links.
fn plain(name: &OsStr) -> io::Result<&OsStr> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(Errno::INVAL.into()),
        bytes if bytes.contains(&b'/') => Err(Errno::INVAL.into()),
        _ => Ok(name),
    }
}

/// A file that is regular, and has no other name elsewhere.
fn regular(fd: OwnedFd) -> io::Result<File> {
    let found: Stat = fstat(&fd)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile if found.st_nlink <= 1 => Ok(fd.into()),
        FileType::RegularFile => Err(io::Error::other("a file that has other names too")),
        _ => Err(io::Error::other("not a regular file")),
    }
}

fn write_trial(mut file: File) -> io::Result<()> {
    file.write_all(&TRIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const NAME: &str = "file";

    fn write(directory: &Directory, content: &[u8]) -> io::Result<()> {
        directory.replace(OsStr::new(NAME), content, Mode::RUSR | Mode::WUSR)
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        fs::write(dir.path().join("file.new"), "left by a crash").unwrap();
        for content in [&b"one"[..], b"two"] {
            write(&directory, content).unwrap();
            assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), content);
        }
        assert_eq!(directory.names().unwrap(), [NAME]);
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(directory.remove(OsStr::new(NAME)).unwrap());
        assert!(!directory.remove(OsStr::new(NAME)).unwrap());
    }

    #[test]
    fn no_link_is_followed() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directory = Directory::open(dir.path()).unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        for name in ["file", "file.new", "lock", "trial"] {
            symlink(&victim, dir.path().join(name)).unwrap();
        }
        symlink(elsewhere.path(), dir.path().join("inner")).unwrap();
        write(&directory, b"new").unwrap();
        directory.try_write().unwrap();
        let refused = directory.open_or_create("lock").unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert!(directory.inside("inner").is_err());
        assert!(directory.inside_or_made("inner").is_err());
        assert!(directory.remove(OsStr::new("lock")).unwrap());
        assert!(directory.remove(OsStr::new("inner/victim")).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(!dir.path().join(NAME).is_symlink());
    }

    #[test]
    fn what_is_no_file_of_its_own_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        assert!(directory.open_or_create("a").is_err());
        fs::write(dir.path().join("b"), "x").unwrap();
        fs::hard_link(dir.path().join("b"), dir.path().join("c")).unwrap();
        let refused = directory.open_or_create("c").unwrap_err();
        assert!(refused.to_string().contains("other names"), "{refused}");
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            return eprintln!("NOT TESTED: only root can give files away");
        }
        std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_533)).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        write(&directory, b"x").unwrap();
        directory.open_or_create("lock").unwrap();
        directory.inside_or_made("inner").unwrap();
        for name in [NAME, "lock", "inner"] {
            let found = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (65_534, 65_533), "{name}");
        }
    }

    #[test]
    fn a_directory_that_was_removed_is_not_writable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::create_dir(&path).unwrap();
        let directory = Directory::open(&path).unwrap();
        directory.try_write().unwrap();
        assert_eq!(directory.names().unwrap(), Vec::<OsString>::new());
        fs::remove_dir(&path).unwrap();
        assert!(directory.looks_writable().is_err() && directory.try_write().is_err());
    }
}
