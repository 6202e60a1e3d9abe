//! What moves have left on this node: Ganeti's throw-away keys, and status directories of transfers.
//! It reads, and removes what it is told to; it judges nothing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Mode;
use rustix::process::geteuid;

use crate::moves::keys::{Key, is_key};
use crate::node::directory::Directory;
use crate::tls::certificates;

/// Where the transfers of this program say which key they used: an empty file with its name.
pub(super) const MARKS: &str = "noded-proxy-moves";

/// Ganeti's run directory.
pub(crate) struct Leavings {
    run: PathBuf,
}

/// A status directory.
pub(super) struct Transfer {
    pub(super) name: String,
    /// Root's processes that name it.
    pub(super) users: Vec<u32>,
    pub(super) changed: i64,
}

impl Transfer {
    pub(super) fn is_alive(&self) -> bool {
        !self.users.is_empty()
    }
}

impl Leavings {
    pub(crate) fn of(run: &Path) -> Self {
        let run = run.to_owned();
        Self { run }
    }

    /// Of the key file that a transfer uses, with the key's name, if it is a throw-away key.
    pub(crate) fn of_key(key: &Path) -> Option<(Self, String)> {
        let directory = key.parent()?;
        let crypto = directory.parent()?;
        let name = directory.file_name()?.to_str()?.to_owned();
        let is_one = crypto.ends_with("crypto") && key.ends_with("key") && is_key(&name);
        is_one.then(|| Some((Self::of(crypto.parent()?), name)))?
    }

    /// Where they are.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    fn crypto(&self) -> PathBuf {
        self.run.join("crypto")
    }

    fn transfers_dir(&self) -> PathBuf {
        self.run.join("import-export")
    }

    /// The directory in it that is this program's.
    pub(super) fn own(&self) -> io::Result<Directory> {
        Directory::open(&self.run)?.inside_or_made(MARKS)
    }

    /// Says that a transfer uses this key now.
    pub(crate) fn mark(&self, name: &str) -> io::Result<()> {
        let marks = self.own()?;
        marks.replace(OsStr::new(name), b"", Mode::RUSR | Mode::WUSR)
    }

    /// The file that a waiting cleaner holds.
    pub(super) fn turn(&self) -> io::Result<fs::File> {
        let marks = self.own()?;
        marks.open_or_create("cleaner")
    }

    /// All keys.
    pub(super) fn keys(&self) -> io::Result<Vec<Key>> {
        let lines = command_lines();
        let mut keys = Vec::new();
        let is_one = |name: &String| is_key(name) && is_directory(&self.crypto().join(name));
        for name in names(&self.crypto())?.into_iter().filter(is_one) {
            let cert = fs::read(self.crypto().join(&name).join("cert")).unwrap_or_default();
            let ends = certificates(&cert)
                .ok()
                .and_then(|all| Some(all.first()?.not_after));
            let mark = self.run.join(MARKS).join(&name);
            let used = fs::symlink_metadata(mark).ok().map(|mark| mark.mtime());
            keys.push(Key {
                users: users(&lines, &name),
                name,
                ends,
                used,
            });
        }
        Ok(keys)
    }

    /// All transfers.
    pub(super) fn transfers(&self) -> io::Result<Vec<Transfer>> {
        let lines = command_lines();
        let mut all = Vec::new();
        for name in names(&self.transfers_dir())? {
            let Ok(found) = fs::symlink_metadata(self.transfers_dir().join(&name)) else {
                continue; // Ganeti has removed it meanwhile
            };
            if found.is_dir() {
                all.push(Transfer {
                    users: users(&lines, &name),
                    changed: found.mtime(),
                    name,
                });
            }
        }
        Ok(all)
    }

    /// Destroys a key.
    pub(super) fn destroy(&self, name: &str) -> io::Result<()> {
        let directory = Directory::open(&self.crypto())?.inside(name)?;
        for file in ["key", "cert"] {
            directory.remove(OsStr::new(file))?;
        }
        fs::remove_dir(self.crypto().join(name))?;
        self.forget(name)
    }

    /// Removes the status directory of a dead transfer.
    pub(super) fn sweep(&self, name: &str) -> io::Result<()> {
        let directory = Directory::open(&self.transfers_dir())?.inside(name)?;
        for file in directory.names()? {
            directory.remove(&file)?;
        }
        fs::remove_dir(self.transfers_dir().join(name))
    }

    /// Removes marks of keys that are gone.
    pub(super) fn forget_gone(&self) -> io::Result<()> {
        for name in names(&self.run.join(MARKS))? {
            if is_key(&name) && !self.crypto().join(&name).exists() {
                self.forget(&name)?;
            }
        }
        Ok(())
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        match Directory::open(&self.run)?.inside(MARKS) {
            Ok(marks) => marks.remove(OsStr::new(name)).map(|_| ()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether it is a directory, and no link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// The names in a directory, sorted; none if it is not there.
fn names(path: &Path) -> io::Result<Vec<String>> {
    match Directory::open(path) {
        Ok(directory) => {
            let names = directory.names()?.into_iter();
            let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io::Error::other(format!("{}: {error}", path.display()))),
    }
}

/// The command lines of root's processes, and of this user's, but this one. Another user's may name what
/// it likes.
fn command_lines() -> Vec<(u32, Vec<u8>)> {
    let (own, user) = (std::process::id(), geteuid().as_raw());
    let is_believed = |pid: &u32| {
        let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == 0 || owner == user)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let line = |pid: u32| Some((pid, fs::read(format!("/proc/{pid}/cmdline")).ok()?));
    let pids = pids.filter(|pid| *pid != own).filter(is_believed);
    pids.filter_map(line).collect()
}

/// Those whose command line has the name.
fn users(lines: &[(u32, Vec<u8>)], name: &str) -> Vec<u32> {
    let named = |line: &[u8]| line.windows(name.len()).any(|part| part == name.as_bytes());
    let users = lines.iter().filter(|(_, line)| named(line));
    users.map(|(pid, _)| *pid).collect()
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
