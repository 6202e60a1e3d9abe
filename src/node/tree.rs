//! A node's files, on the node itself or in a recorded tree, read within bounds.
//!
//! Whoever reads is root, and some of the directories belong to others. So no path leads out of the
//! tree, a link is followed only if it is root's or the reader's own, nothing but a regular file is
//! opened, and nothing is ever written.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat,
};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::files::whole;

/// Most names that are read of one directory.
const MOST_NAMES: usize = 16_384;

/// What was found at a path of the tree.
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    Absent,
    /// A file that this user may not read.
    Forbidden,
    /// A file that cannot be read, and why.
    Faulty(String),
    /// The content. It may be a private key, so it is wiped when it is dropped.
    Good(Zeroizing<Vec<u8>>),
}

/// What the system says of a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it was changed, seconds since 1970.
    pub modified: i64,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// A tree of files.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// Who owns a recorded tree, and its group: nobody on the node itself.
    recorder: Option<(u32, u32)>,
}

impl Tree {
    /// The files of this machine.
    pub fn live() -> io::Result<Self> {
        let root = openat(CWD, "/", DIRECTORY, Mode::empty())?;
        let recorder = None;
        Ok(Self { root, recorder })
    }

    /// A recorded tree, in which `/` is this directory.
    pub fn recorded(directory: &Path) -> io::Result<Self> {
        let root = openat(CWD, directory, DIRECTORY, Mode::empty())?;
        let found = fstat(&root)?;
        let recorder = Some((found.st_uid, found.st_gid));
        Ok(Self { root, recorder })
    }

    /// User and group of whoever recorded it.
    pub fn recorder(&self) -> Option<(u32, u32)> {
        self.recorder
    }

    /// Reads a regular file of at most `limit` bytes. Nothing else is opened.
    pub fn read(&self, path: &Path, limit: usize) -> Content {
        match self.open_file(path).and_then(|file| whole(&file, limit)) {
            Ok(Some(content)) => Content::Good(content),
            Ok(None) => Content::Faulty(format!("it has more than {limit} bytes")),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Content::Absent,
                io::ErrorKind::PermissionDenied => Content::Forbidden,
                _ => Content::Faulty(error.to_string()),
            },
        }
    }

    /// What the system says of a path, behind all links.
    pub fn about(&self, path: &Path) -> Option<About> {
        let fd = self.open(path, OFlags::PATH | OFlags::CLOEXEC).ok()?;
        let found = fstat(&fd).ok()?;
        Some(About {
            mode: found.st_mode & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
            modified: found.st_mtime as i64,
            is_directory: FileType::from_raw_mode(found.st_mode) == FileType::Directory,
        })
    }

    /// Where a file really is, behind all links, as this machine names it.
    pub fn real(&self, path: &Path) -> io::Result<PathBuf> {
        self.refuse_link_of_stranger(path)?;
        let fd = self.open(path, OFlags::PATH | OFlags::CLOEXEC)?;
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
    }

    /// The names in a directory, sorted; those that are no text are left out.
    pub fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let fd = self.open(directory, DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)?.take(MOST_NAMES) {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or_default();
            if !matches!(name, "" | "." | "..") {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        self.refuse_link_of_stranger(path)?;
        let found = self.open(path, OFlags::PATH | OFlags::CLOEXEC)?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        // The very file that was looked at: opening a device can already do something.
        File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// A user who may write in the directory could make root read what he may not.
    fn refuse_link_of_stranger(&self, path: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let found: Stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
        let uid = found.st_uid;
        let own = rustix::process::geteuid().as_raw();
        if is_link && uid != 0 && uid != own && self.recorder.is_none_or(|(of, _)| of != uid) {
            let why = format!("a symbolic link of uid {uid}, which is not followed");
            return Err(io::Error::other(why));
        }
        Ok(())
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside = match inside.as_os_str().as_bytes() {
            b"" => Path::new("."),
            _ => inside,
        };
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.root, inside, flags, Mode::empty(), within) {
            // Before Linux 5.6; on the node itself nothing lies outside.
            Err(Errno::NOSYS) if self.recorder.is_none() => {
                Ok(openat(&self.root, inside, flags, Mode::empty())?)
            }
            opened => Ok(opened?),
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn text(tree: &Tree, path: &str) -> String {
        match tree.read(Path::new(path), 100) {
            Content::Good(content) => String::from_utf8(content.to_vec()).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn no_link_leads_out_of_a_recorded_tree() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "outside").unwrap();
        fs::create_dir_all(dir.path().join("etc/real")).unwrap();
        fs::write(dir.path().join("etc/real/file"), "inside").unwrap();
        let link = |to: &Path, name: &str| symlink(to, dir.path().join(name)).unwrap();
        link(&outside.path().join("secret"), "absolute");
        link(Path::new("/etc/real/file"), "of_the_tree");
        link(outside.path(), "directory");
        link(Path::new("../../../../../../etc/real/file"), "up");
        let tree = Tree::recorded(dir.path()).unwrap();
        assert_eq!(text(&tree, "/etc/real/file"), "inside");
        assert_eq!(text(&tree, "/of_the_tree"), "inside");
        assert_eq!(text(&tree, "/up"), "inside");
        let file = dir.path().canonicalize().unwrap().join("etc/real/file");
        for path in ["/etc/real/file", "/of_the_tree", "/up"] {
            assert_eq!(tree.real(Path::new(path)).unwrap(), file);
        }
        for path in ["/absolute", "/directory/secret", "/../secret", "/no"] {
            assert_eq!(text(&tree, path), "Absent", "{path}");
        }
        assert!(tree.names(Path::new("/directory")).is_err());
        assert_eq!(tree.names(Path::new("/etc")).unwrap(), ["real"]);
    }

    #[test]
    fn what_is_no_small_regular_file_is_faulty() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("large"), [b'x'; 101]).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(fifo).status();
        assert!(made.unwrap().success());
        let tree = Tree::recorded(dir.path()).unwrap();
        assert!(text(&tree, "/large").contains("more than 100 bytes"));
        for name in ["/directory", "/fifo"] {
            assert!(text(&tree, name).contains("not a regular file"), "{name}");
        }
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened() {
        use rustix::fs::inotify;
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        fs::write(dir.path().join("file"), "content").unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, dir.path(), inotify::WatchFlags::OPEN).unwrap();
        let tree = Tree::recorded(dir.path()).unwrap();
        assert!(text(&tree, "/fifo").contains("not a regular file"));
        assert_eq!(text(&tree, "/file"), "content");
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut space);
        let mut opened = Vec::new();
        while let Ok(event) = events.next() {
            opened.extend(event.file_name().map(|name| name.to_owned()));
        }
        assert_eq!(opened, [c"file".to_owned()]);
    }

    #[test]
    fn the_link_of_another_user_is_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("NOT TESTED: only root can give a link away");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "content").unwrap();
        let link = dir.path().join("link");
        symlink("file", &link).unwrap();
        let tree = Tree::recorded(dir.path()).unwrap();
        assert_eq!(text(&tree, "/link"), "content");
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        let refused = text(&tree, "/link");
        assert!(refused.contains("symbolic link of uid 65534"), "{refused}");
    }
}
