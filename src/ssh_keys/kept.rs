//! Root's own directory for this: the lock, former contents, what waits for its proof, and what the
//! master remembers. Only root may look into it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;

use crate::node::directory::Directory;

/// Where it is.
const PARENT: &str = "var/lib";
const NAME: &str = "noded-proxy-ssh-keys";
/// Former contents that are kept.
const MOST_BACKUPS: usize = 20;
const BACKUP: &str = "authorized_keys.";
const KEY: &str = "key-";
/// Largest file of its own that is read.
const MOST: u64 = 16 << 20;

/// The open directory, and where it is.
#[derive(Debug)]
pub struct Kept(Directory, PathBuf);

/// Nobody else changes anything while it is held.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Kept {
    /// The directory below this root; it is made if there is none.
    pub fn open(root: &Path) -> Result<Self, String> {
        let parent = root.join(PARENT);
        let opened = Directory::open(&parent).and_then(|parent| parent.inside_or_made(NAME));
        let path = parent.join(NAME);
        let opened = opened.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(opened, path))
    }

    /// The same, if it is there; to look makes nothing.
    pub fn open_if_there(root: &Path) -> Result<Option<Self>, String> {
        let parent = root.join(PARENT);
        match Directory::open(&parent).and_then(|parent| parent.inside(NAME)) {
            Ok(directory) => Ok(Some(Self(directory, parent.join(NAME)))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", parent.join(NAME).display())),
        }
    }

    /// Waits until nobody else holds this lock, or says that somebody does.
    pub fn lock(&self, name: &str, wait: bool) -> Result<Lock, String> {
        if !wait {
            let busy = "another `noded-proxy ssh-keys` is at work";
            return self.lock_if_free(name)?.ok_or_else(|| busy.into());
        }
        let file = self.0.open_or_create(name).map_err(told(name))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| told(name)(error.into()))?;
        Ok(Lock(file))
    }

    /// The lock; nothing, if somebody else holds it.
    pub fn lock_if_free(&self, name: &str) -> Result<Option<Lock>, String> {
        let file = self.0.open_or_create(name).map_err(told(name))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(told(name)(error.into())),
        }
    }

    /// Where a file of its own is, for other programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.1.join(name)
    }

    /// A file of its own; nothing if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.0.open_if_there(name).map_err(told(name))? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(MOST)
            .read_to_end(&mut content)
            .map_err(told(name))?;
        Ok(Some(content))
    }

    /// Writes a file of its own, whole or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let written = self
            .0
            .replace(OsStr::new(name), content, Mode::RUSR | Mode::WUSR);
        written.map_err(told(name))
    }

    /// Removes one.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        self.0
            .remove(OsStr::new(name))
            .map(|_| ())
            .map_err(told(name))
    }

    /// Keeps a content, and returns the name under which it is.
    pub(super) fn back_up(&self, now: i64, content: &[u8]) -> Result<String, String> {
        let there = self.backups()?;
        let mut name = format!("{BACKUP}{now}");
        while there.contains(&name) {
            name.push('x');
        }
        self.write(&name, content)?;
        Ok(name)
    }

    /// Keeps the former content of a file with a key until [`Kept::drop_keys`].
    pub(super) fn keep_key(&self, at: usize, content: &[u8]) -> Result<String, String> {
        let name = format!("{KEY}{at}");
        self.write(&name, content)?;
        Ok(name)
    }

    /// Drops them: private halves stay nowhere but in their place.
    pub(super) fn drop_keys(&self) -> Result<(), String> {
        let names = self.all(KEY)?;
        names.iter().try_for_each(|name| self.remove(name))
    }

    /// Whether there are any.
    pub(super) fn has_keys(&self) -> Result<bool, String> {
        Ok(!self.all(KEY)?.is_empty())
    }

    /// Drops the oldest former contents, but none that is needed. Clocks have been wrong.
    pub(super) fn drop_old(&self, needed: &[&str]) -> Result<(), String> {
        let mut others = self.backups()?;
        others.retain(|name| !needed.contains(&&**name));
        let most = MOST_BACKUPS.saturating_sub(needed.len());
        others.truncate(others.len().saturating_sub(most));
        others.iter().try_for_each(|old| self.remove(old))
    }

    /// Names of former contents, the oldest first.
    fn backups(&self) -> Result<Vec<String>, String> {
        self.all(BACKUP)
    }

    /// Names that begin so, sorted.
    fn all(&self, head: &str) -> Result<Vec<String>, String> {
        let names = self.0.names().map_err(told(head))?.into_iter();
        let names = names.filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(head)).collect();
        names.sort();
        Ok(names)
    }
}

fn told(name: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("/{PARENT}/{NAME}/{name}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_at_a_time_and_for_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(PARENT)).unwrap();
        let (one, two) = (
            Kept::open(dir.path()).unwrap(),
            Kept::open(dir.path()).unwrap(),
        );
        let held = one.lock("lock", false).unwrap();
        let why = two.lock("lock", false).unwrap_err();
        assert!(why.contains("at work"), "{why}");
        drop(held);
        two.lock("lock", true).unwrap();
        let found = std::fs::metadata(dir.path().join(PARENT).join(NAME)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_last_former_contents_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(PARENT)).unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        let name = kept.back_up(1_000, b"first").unwrap();
        assert_eq!(kept.read(&name).unwrap().as_deref(), Some(&b"first"[..]));
        let twice = kept.back_up(1_000, b"second").unwrap();
        assert_ne!(name, twice);
        for at in 0..MOST_BACKUPS as i64 {
            kept.back_up(2_000 + at, b"x").unwrap();
        }
        // The clock was ahead: what is needed now bears an older time.
        kept.drop_old(&[&twice]).unwrap();
        assert_eq!(kept.backups().unwrap().len(), MOST_BACKUPS);
        assert_eq!(kept.read(&name).unwrap(), None);
        assert_eq!(kept.read(&twice).unwrap().as_deref(), Some(&b"second"[..]));
        kept.drop_old(&[]).unwrap();
        assert_eq!(kept.backups().unwrap().len(), MOST_BACKUPS);
    }

    #[test]
    fn to_read_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(PARENT)).unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        assert_eq!(kept.read("pending").unwrap(), None);
        assert_eq!(kept.0.names().unwrap(), [""; 0]);
    }
}
