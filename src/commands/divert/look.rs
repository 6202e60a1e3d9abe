//! Looks at the place. What it saw goes to `scene` as a value; it changes nothing.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::dpkg;
use super::place::{Place, STANDARD, program_in};
use super::scene::{Kept, Scene, There};
use crate::node::files::{FileContent, read};

/// Largest file that is looked into: the small file has 400 bytes.
const MOST: usize = 1 << 20;

/// What is at the place that was given, or written down, or where packages have it.
pub(in crate::commands) fn scene(
    given: Option<&Path>,
    recorded: Option<&Path>,
) -> Result<Scene, String> {
    if let (Some(given), Some(recorded)) = (given, recorded)
        && given != recorded
    {
        return Err(format!(
            "`install --moves` has changed {}: without --import-export first `uninstall --moves`",
            recorded.display()
        ));
    }
    let standard = STANDARD.map(Path::new);
    let exists = |path: &&Path| path.symlink_metadata().is_ok();
    let found = standard.into_iter().find(exists).unwrap_or(standard[0]);
    let place = Place::new(given.or(recorded).unwrap_or(found))?;
    let failed = |error: io::Error| format!("{place}: {error}");
    let there = there(place.path()).map_err(failed)?;
    let kept = kept(&place, &there).map_err(failed)?;
    let (owned, diversion) = dpkg::of(&place)?;
    Ok(Scene {
        there,
        kept,
        owned,
        diversion,
        recorded: recorded.is_some(),
        place,
    })
}

pub(in crate::commands) fn there(path: &Path) -> io::Result<There> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
        Err(error) => return Err(error),
        Ok(found) if !found.is_file() => return Ok(There::Other),
        Ok(_) => {}
    }
    Ok(match read(path, MOST) {
        FileContent::Content(text) if program_in(&text).is_some() => There::Ours(text.to_vec()),
        FileContent::Unreadable(why) => return Err(io::Error::other(why)),
        _ => There::Other,
    })
}

pub(super) fn kept(place: &Place, there: &There) -> io::Result<Kept> {
    let kept = place.kept();
    match fs::symlink_metadata(&kept) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::Nothing),
        Err(error) => Err(error),
        Ok(_) if *there == There::Other && same(place.path(), &kept)? => Ok(Kept::Same),
        Ok(_) => Ok(Kept::Other),
    }
}

/// Whether both are the same file, or say the same.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (a, b) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
        return Ok(true);
    }
    if a.is_symlink() && b.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    let alike = a.is_file() && b.is_file() && a.len() == b.len() && a.len() <= MOST as u64;
    Ok(alike && fs::read(one)? == fs::read(other)?)
}

/// Whether root can run it, and nobody else can write it or put another in its place.
pub(in crate::commands) fn is_a_program(path: &Path) -> bool {
    const STICKY: u32 = 0o1000; // there only the owner replaces a file
    let of_root = |found: &fs::Metadata, but: u32| {
        found.uid() == 0 && (found.mode() & 0o022 == 0 || found.mode() & but != 0)
    };
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let runs = |found: &fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    fs::metadata(&path).is_ok_and(|found| of_root(&found, 0) && runs(&found))
        && path
            .ancestors()
            .skip(1)
            .all(|folder| fs::metadata(folder).is_ok_and(|found| of_root(&found, STICKY)))
}

/// Whether only root may change what is in the folder of the place.
pub(in crate::commands) fn is_safe(place: &Place) -> Result<(), String> {
    let folder: PathBuf = place
        .path()
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    match fs::metadata(&folder) {
        Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => Err(format!(
            "{}: others than root may write there",
            folder.display()
        )),
        _ => Ok(()),
    }
}
