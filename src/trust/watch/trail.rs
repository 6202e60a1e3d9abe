//! The way to a file, through every directory and every symbolic link that leads there. It reads
//! no file and watches nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most links that are followed, as in the kernel.
const MOST_LINKS: usize = 40;

/// One directory entry on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The directory that has the entry; no link is in this path.
    pub(super) directory: PathBuf,
    /// The entry.
    pub(super) entry: PathBuf,
    /// Whether it is the file itself, a link, or what is missing: the rest seldom changes.
    pub(super) matters: bool,
}

/// All entries on the way to a path, in their order. The last one is the file itself, or what is
/// missing on the way to it.
pub(super) fn trail(path: &Path) -> Vec<Step> {
    let Ok(path) = std::path::absolute(path) else {
        return Vec::new();
    };
    let (mut here, mut left) = (PathBuf::from("/"), names(&path));
    let (mut steps, mut links) = (Vec::new(), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let entry = here.join(&name);
        let found = fs::symlink_metadata(&entry);
        let is_link = found.as_ref().is_ok_and(|found| found.is_symlink());
        steps.push(Step {
            directory: here.clone(),
            entry: entry.clone(),
            matters: is_link || found.is_err() || left.is_empty(),
        });
        if found.is_err() {
            break;
        }
        if !is_link {
            here = entry;
            continue;
        }
        links += 1;
        let Some(target) = fs::read_link(&entry).ok().filter(|_| links <= MOST_LINKS) else {
            break;
        };
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        names(&target)
            .into_iter()
            .rev()
            .for_each(|name| left.push_front(name));
    }
    steps
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The entries that matter, below the directory of the test.
    fn that_matter(root: &Path, path: &str) -> Vec<String> {
        let below = |step: Step| {
            assert_eq!(step.entry.parent(), Some(&*step.directory));
            let below = step.entry.strip_prefix(root).ok()?;
            step.matters.then(|| below.display().to_string())
        };
        let steps = trail(&root.join(path)).into_iter();
        steps.filter_map(below).collect()
    }

    #[test]
    fn the_way_as_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let root = &*dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        fs::write(root.join("a/b/f"), "").unwrap();
        symlink("../a/b/f", root.join("c/file")).unwrap();
        symlink(root.join("a"), root.join("absolute")).unwrap();
        symlink("c", root.join("relative")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let table: [(&str, &[&str]); 8] = [
            ("a/b/f", &["a/b/f"]),
            ("a/b/none", &["a/b/none"]),
            ("none/b/f", &["none"]),
            ("c/file", &["c/file", "a/b/f"]),
            ("absolute/b/f", &["absolute", "a/b/f"]),
            ("relative/file", &["relative", "c/file", "a/b/f"]),
            ("c/../a/b/../b/f", &["a/b/f"]),
            ("a/b", &["a/b"]),
        ];
        for (path, expected) in table {
            assert_eq!(that_matter(root, path), expected, "{path}");
        }
        assert_eq!(that_matter(root, "loop").len(), MOST_LINKS + 1);
        let all = trail(&root.join("a/b/f"));
        assert_eq!(all[0].directory, Path::new("/"));
    }
}
