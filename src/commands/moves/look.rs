//! What moves have left on this node: Ganeti's throw-away keys, and status directories of transfers.
//! It reads, and removes what it is told to; it judges nothing.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;
use rustix::process::geteuid;

use crate::moves::keys::{Key, is_key};
use crate::node::directory::Directory;
use crate::tls::certificates;

/// Where the transfers of this program say which key they used: an empty file with its name.
pub(super) const MARKS: &str = "noded-proxy-moves";

/// Where Ganeti has the keys, and the status directories of transfers.
const KEYS: &str = "crypto";
const TRANSFERS: &str = "import-export";

/// Largest certificate that is read.
const MOST: u64 = 1 << 20;

/// Ganeti's run directory. All of Ganeti's daemons may change what has which name there, and the
/// cleaner is root: no link in it is followed.
pub(crate) struct Leavings {
    run: PathBuf,
}

/// A status directory.
pub(super) struct Transfer {
    pub(super) name: String,
    /// Root's processes that name it.
    pub(super) users: Vec<u32>,
    pub(super) changed: i64,
    /// Whether its status says how it ended; nothing if it cannot be read.
    pub(super) ended: Option<bool>,
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

    fn inside(&self, name: &str) -> io::Result<Directory> {
        let inside = Directory::open(&self.run).and_then(|run| run.inside(name));
        inside.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => error,
            _ => io::Error::other(format!("{}: {error}", self.run.join(name).display())),
        })
    }

    /// The directory in it that is this program's.
    pub(super) fn own(&self) -> io::Result<Directory> {
        Directory::open(&self.run)?.inside_or_made(MARKS)
    }

    /// Says that a transfer uses this key now.
    pub(crate) fn mark(&self, name: &str) -> io::Result<()> {
        let mark = self.own()?.open_or_create(name)?; // other disks of the move do so now, too
        mark.set_modified(SystemTime::now())
    }

    /// The file that a waiting cleaner holds.
    pub(super) fn turn(&self) -> io::Result<fs::File> {
        let marks = self.own()?;
        marks.open_or_create("cleaner")
    }

    /// All keys.
    pub(super) fn keys(&self) -> io::Result<Vec<Key>> {
        let Some(crypto) = there(self.inside(KEYS))? else {
            return Ok(Vec::new());
        };
        let (lines, marks) = (command_lines(), there(self.inside(MARKS))?);
        let mut keys = Vec::new();
        for name in names(&crypto)?.into_iter().filter(|name| is_key(name)) {
            let Ok(key) = crypto.inside(&name) else {
                continue; // no directory
            };
            let ends = certificates(&certificate(&key).unwrap_or_default())
                .ok()
                .and_then(|all| Some(all.first()?.not_after));
            let mark = marks
                .as_ref()
                .and_then(|marks| marks.look(OsStr::new(&name)));
            keys.push(Key {
                users: users(&lines, &name),
                name,
                ends,
                used: mark.map(|mark| mark.st_mtime),
            });
        }
        Ok(keys)
    }

    /// All transfers.
    pub(super) fn transfers(&self) -> io::Result<Vec<Transfer>> {
        let Some(directory) = there(self.inside(TRANSFERS))? else {
            return Ok(Vec::new());
        };
        // In this order: one that begins meanwhile is alive, and one that ends meanwhile has ended.
        let names = names(&directory)?;
        let lines = command_lines();
        let mut all = Vec::new();
        for name in names {
            let Some(found) = directory.look(OsStr::new(&name)) else {
                continue; // Ganeti has removed it meanwhile
            };
            if FileType::from_raw_mode(found.st_mode).is_dir() {
                all.push(Transfer {
                    users: users(&lines, &name),
                    changed: found.st_mtime,
                    ended: has_ended(&directory, &name),
                    name,
                });
            }
        }
        Ok(all)
    }

    /// Destroys a key.
    pub(super) fn destroy(&self, name: &str) -> io::Result<()> {
        let crypto = self.inside(KEYS)?;
        let directory = crypto.inside(name)?;
        for file in ["key", "cert"] {
            directory.remove(OsStr::new(file))?;
        }
        crypto.remove_directory(name)?;
        self.forget(name)
    }

    /// Removes the status directory of a dead transfer.
    pub(super) fn sweep(&self, name: &str) -> io::Result<()> {
        let transfers = self.inside(TRANSFERS)?;
        let directory = transfers.inside(name)?;
        for file in directory.names()? {
            directory.remove(&file)?;
        }
        transfers.remove_directory(name)
    }

    /// Removes marks of keys that are gone.
    pub(super) fn forget_gone(&self) -> io::Result<()> {
        let Some(marks) = there(self.inside(MARKS))? else {
            return Ok(());
        };
        let crypto = there(self.inside(KEYS))?;
        let is_there = |name: &str| {
            let crypto = crypto.as_ref();
            crypto.is_some_and(|crypto| crypto.look(OsStr::new(name)).is_some())
        };
        for name in names(&marks)? {
            if is_key(&name) && !is_there(&name) {
                marks.remove(OsStr::new(&name))?;
            }
        }
        Ok(())
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        match there(self.inside(MARKS))? {
            Some(marks) => marks.remove(OsStr::new(name)).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Nothing if it is not there.
fn there(directory: io::Result<Directory>) -> io::Result<Option<Directory>> {
    match directory {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a directory, sorted.
fn names(directory: &Directory) -> io::Result<Vec<String>> {
    let names = directory.names()?.into_iter();
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The text of a key's certificate.
fn certificate(key: &Directory) -> io::Result<Vec<u8>> {
    bounded(key, "cert")
}

/// Whether the status of a transfer has an exit status; nothing if it cannot be read.
fn has_ended(transfers: &Directory, name: &str) -> Option<bool> {
    let own = transfers.inside(name);
    match own.and_then(|own| bounded(&own, "status")) {
        Ok(text) => {
            let status: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            Some(status["exit_status"].is_number())
        }
        Err(error) => (error.kind() == io::ErrorKind::NotFound).then_some(false),
    }
}

fn bounded(directory: &Directory, name: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = directory.open_to_read(name)?;
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
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

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
