//! Replaces a file of root's: whole or not at all, in the real directory behind its links, with its
//! owner and mode, and only if it still is what was looked at. It knows nothing of keys.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};
use tempfile::Builder;

use crate::node::tree::{Content, Tree};

/// Largest file that is changed: some thousand keys.
const MOST: usize = 4 << 20;
/// Links in a row that are followed to where nothing is.
const MOST_LINKS: usize = 8;
const OF_ANOTHER: &str = "it, or its directory, belongs to another user than root";

/// The content; nothing if there is no file.
pub(super) fn read(tree: &Tree, path: &Path) -> Result<Option<Vec<u8>>, String> {
    match tree.read(path, MOST) {
        Content::Absent => Ok(None),
        Content::Good(content) => Ok(Some(content.to_vec())),
        Content::Forbidden => Err(told(path, "this user may not read it")),
        Content::Faulty(why) => Err(told(path, &why)),
    }
}

/// Replaces `was` by `content`.
pub(super) fn write(tree: &Tree, path: &Path, was: &[u8], content: &[u8]) -> Result<(), String> {
    let unread = |error: io::Error| told(path, &error.to_string());
    let real = may_change(tree, path)?;
    let old = fs::symlink_metadata(&real).map_err(unread)?;
    let new = written(folder_of(&real), &old, content).map_err(unread)?;
    same(tree, path, Some(was))?;
    new.persist(&real).map_err(|error| unread(error.error))?;
    sync(&real).map_err(unread)
}

/// Puts a content in the place of `was`, or takes the file away; a new one belongs to root and has
/// this mode. Where a link leads to nothing, the file comes where it leads to.
pub(super) fn put(
    tree: &Tree,
    path: &Path,
    was: Option<&[u8]>,
    to: Option<&[u8]>,
    mode: u32,
) -> Result<(), String> {
    let told_of = |error: io::Error| told(path, &error.to_string());
    match (was, to) {
        (None, None) => Ok(()),
        (Some(was), Some(to)) if was == to => Ok(()),
        (Some(was), Some(to)) => write(tree, path, was, to),
        (Some(was), None) => {
            let real = may_change(tree, path)?;
            same(tree, path, Some(was))?;
            fs::remove_file(&real).map_err(told_of)?;
            sync(&real).map_err(told_of)
        }
        (None, Some(to)) => {
            let real = new_place(tree, path).map_err(told_of)?;
            let folder = folder_of(&real);
            let about = fs::metadata(folder).map_err(told_of)?;
            refuse_folder(tree, &about).map_err(|why| told(path, why))?;
            let mut new = Builder::new()
                .prefix(".noded-proxy-")
                .tempfile_in(folder)
                .map_err(told_of)?;
            let filled = new.write_all(to).and_then(|()| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                new.as_file().set_permissions(mode)?;
                new.as_file().sync_all()
            });
            filled.map_err(told_of)?;
            new.persist_noclobber(&real)
                .map_err(|error| told_of(error.error))?;
            sync(&real).map_err(told_of)
        }
    }
}

/// Where a file that is not there is to be: in the real directory of its name, or of that to which
/// its link leads.
fn new_place(tree: &Tree, path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            break;
        };
        let place = tree.real(folder)?.join(name);
        match fs::read_link(&place) {
            Ok(link) => path = folder.join(link),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("too many links"))
}

/// The real place of a file that may be changed.
fn may_change(tree: &Tree, path: &Path) -> Result<PathBuf, String> {
    let unread = |error: io::Error| told(path, &error.to_string());
    let real = tree.real(path).map_err(unread)?;
    let old = fs::symlink_metadata(&real).map_err(unread)?;
    let folder = fs::metadata(folder_of(&real)).map_err(unread)?;
    refuse(tree, &old, &folder).map_err(|why| told(path, why))?;
    Ok(real)
}

fn folder_of(real: &Path) -> &Path {
    real.parent().unwrap_or_else(|| Path::new("/"))
}

/// As late as it can be: Ganeti adds lines to the file as it is.
fn same(tree: &Tree, path: &Path, was: Option<&[u8]>) -> Result<(), String> {
    match read(tree, path)?.as_deref() == was {
        true => Ok(()),
        false => Err(told(path, "somebody has changed it in the meantime")),
    }
}

fn sync(real: &Path) -> io::Result<()> {
    File::open(folder_of(real)).and_then(|folder| folder.sync_all())
}

/// What must not be replaced: others could change what is put there, or it has other names.
fn refuse(tree: &Tree, file: &Metadata, folder: &Metadata) -> Result<(), &'static str> {
    match file {
        file if !file.is_file() => Err("it is not a regular file"),
        file if file.nlink() > 1 => Err("it has several names (hard links)"),
        file if !is_root(tree, file.uid()) => Err(OF_ANOTHER),
        _ => refuse_folder(tree, folder),
    }
}

fn refuse_folder(tree: &Tree, folder: &Metadata) -> Result<(), &'static str> {
    match folder {
        folder if !is_root(tree, folder.uid()) => Err(OF_ANOTHER),
        folder if folder.mode() & 0o022 != 0 => Err("others may write in its directory"),
        _ => Ok(()),
    }
}

fn is_root(tree: &Tree, uid: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let recorder = tree.recorder().map(|(uid, _)| uid);
    uid == 0 || uid == own || Some(uid) == recorder
}

fn written(folder: &Path, old: &Metadata, content: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut new = Builder::new().prefix(".noded-proxy-").tempfile_in(folder)?;
    new.write_all(content)?;
    let (owner, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
    fchown(new.as_file(), Some(owner), Some(group))?;
    new.as_file().set_permissions(old.permissions())?;
    new.as_file().sync_all()?;
    Ok(new)
}

fn told(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A tree with `/real/keys`, and `/ssh/keys` that leads there.
    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["real", "ssh"] {
            let folder = dir.path().join(folder);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
        }
        fs::write(dir.path().join("real/keys"), "old").unwrap();
        fs::set_permissions(
            dir.path().join("real/keys"),
            PermissionsExt::from_mode(0o640),
        )
        .unwrap();
        symlink("/real/keys", dir.path().join("ssh/keys")).unwrap();
        let tree = Tree::recorded(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn the_link_stays_and_so_do_owner_and_mode() {
        let (dir, tree) = tree();
        let real = dir.path().join("real/keys");
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&real, None, Some(65_534)).unwrap();
        }
        write(&tree, Path::new("/ssh/keys"), b"old", b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(dir.path().join("ssh/keys").is_symlink());
        let found = fs::metadata(&real).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640);
        assert!(!is_root || found.gid() == 65_534);
        assert_eq!(fs::read_dir(dir.path().join("real")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_odd_is_refused_and_stays() {
        type Row = (fn(&Path), &'static str);
        let table: [Row; 4] = [
            (
                |dir| fs::write(dir.join("real/keys"), "theirs").unwrap(),
                "in the meantime",
            ),
            (
                |dir| fs::hard_link(dir.join("real/keys"), dir.join("other")).unwrap(),
                "several",
            ),
            (
                |dir| {
                    fs::set_permissions(dir.join("real"), PermissionsExt::from_mode(0o777)).unwrap()
                },
                "others may write",
            ),
            (
                |dir| fs::remove_file(dir.join("real/keys")).unwrap(),
                "No such file",
            ),
        ];
        for (change, word) in table {
            let (dir, tree) = tree();
            change(dir.path());
            let before = fs::read(dir.path().join("real/keys")).ok();
            let why = write(&tree, Path::new("/ssh/keys"), b"old", b"new").unwrap_err();
            assert!(
                why.starts_with("/ssh/keys: ") && why.contains(word),
                "{why}"
            );
            assert_eq!(fs::read(dir.path().join("real/keys")).ok(), before);
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("NOT TESTED: only root can give files away");
        }
        for path in ["real/keys", "real"] {
            let (dir, tree) = tree();
            std::os::unix::fs::chown(dir.path().join(path), Some(65_534), None).unwrap();
            let why = write(&tree, Path::new("/ssh/keys"), b"old", b"new").unwrap_err();
            assert!(why.contains("another user"), "{why}");
        }
    }
}
