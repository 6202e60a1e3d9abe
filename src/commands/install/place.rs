//! A file of another's that is changed: whole or not at all, with its owner and mode, and only if it
//! still is what was looked at. It never follows what it does not understand: a file with several
//! names is refused.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, Uid, fchown};
use tempfile::Builder;

use crate::node::files::{FileContent, read as read_file};

/// Largest file that is changed.
const MOST: usize = 1 << 20;

/// The content; nothing if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match read_file(path, MOST) {
        FileContent::Absent => Ok(None),
        FileContent::Content(content) => Ok(Some(content.to_vec())),
        FileContent::TooLarge => Err(format!("{}: more than {MOST} bytes", path.display())),
        FileContent::Unreadable(why) => Err(format!("{}: {why}", path.display())),
    }
}

/// Whether the file can be replaced without harm to what else it is.
pub(super) fn replaceable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.nlink() > 1 => Err(format!(
            "{} has {} names (hard links), which would no longer be one file",
            path.display(),
            found.nlink()
        )),
        _ => Ok(()),
    }
}

/// Writes the file, or removes it. It must hold `was` until then.
pub(super) fn write(path: &Path, was: Option<&[u8]>, content: Option<&[u8]>) -> Result<(), String> {
    let found = read(path)?;
    if found.as_deref() == content {
        return Ok(());
    }
    if found.as_deref() != was {
        return Err("somebody has changed it in the meantime".into());
    }
    let done = match content {
        Some(content) => replace(path, content),
        None => fs::remove_file(path).inspect(|()| tidy(path)),
    };
    done.map_err(|error| error.to_string())
}

/// A directory for drop-ins that was made for the file alone goes with it.
fn tidy(path: &Path) {
    let folder = path.parent().filter(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".service.d")
    });
    if let Some(folder) = folder {
        let _ = fs::remove_dir(folder); // it has more in it
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        found => found?, // behind a symbolic link: the link stays
    };
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut new = Builder::new().prefix(".noded-proxy-").tempfile_in(folder)?;
    new.write_all(content)?;
    match fs::metadata(&path) {
        Ok(old) => {
            let (owner, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
            fchown(new.as_file(), Some(owner), Some(group))?;
            new.as_file().set_permissions(old.permissions())?;
        }
        Err(_) => new
            .as_file()
            .set_permissions(Permissions::from_mode(0o644))?,
    }
    new.as_file().sync_all()?;
    new.persist(&path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_links_stay_and_a_change_of_somebody_else_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        fs::write(&file, "1").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        write(&link, Some(b"1"), Some(b"2")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(link.is_symlink());
        let why = write(&file, Some(b"1"), Some(b"3")).unwrap_err();
        assert!(why.contains("somebody"), "{why}");
        write(&file, Some(b"2"), None).unwrap();
        assert!(!file.exists());
        write(&file, None, Some(b"4")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_for_drop_ins_goes_when_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, other, stays) in [
            ("a.service.d", None, false),
            ("b.service.d", Some("mine.conf"), true),
            ("default", None, true),
        ] {
            let file = dir.path().join(folder).join("noded-proxy.conf");
            write(&file, None, Some(b"1")).unwrap();
            if let Some(name) = other {
                fs::write(file.with_file_name(name), "x").unwrap();
            }
            write(&file, Some(b"1"), None).unwrap();
            assert_eq!(file.parent().unwrap().exists(), stays, "{folder}");
        }
    }

    #[test]
    fn a_file_with_two_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "1").unwrap();
        assert_eq!(replaceable(&file), Ok(()));
        fs::hard_link(&file, dir.path().join("g")).unwrap();
        assert!(replaceable(&file).unwrap_err().contains("2 names"));
    }
}
