//! The names of the two files, and the text of the small one that is put in the place. Pure: nothing is
//! read or written.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where packages of Ganeti have it.
pub(in crate::commands) const STANDARD: [&str; 3] = [
    "/usr/lib/ganeti/import-export",
    "/usr/lib64/ganeti/import-export",
    "/usr/local/lib/ganeti/import-export",
];

/// How the small file says whose it is.
const MARK: &str = "# Made by `noded-proxy install --moves`; `noded-proxy uninstall --moves` puts \
                    Ganeti's own back.";

/// The place that Ganeti starts its program from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Place(PathBuf);

impl Place {
    /// Both names go into a script and to dpkg: plain ones only.
    pub(in crate::commands) fn new(path: &Path) -> Result<Self, String> {
        plain(path)?;
        Ok(Self(path.to_owned()))
    }

    pub(in crate::commands) fn path(&self) -> &Path {
        &self.0
    }

    /// Where Ganeti's own is kept. In the same folder, so that a relative link stays right.
    pub(in crate::commands) fn kept(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".ganeti");
        name.into()
    }

    /// Names that are used for a moment, and are left behind by whoever is killed then.
    pub(super) fn new_text(&self) -> PathBuf {
        self.0.with_file_name(".import-export.noded-proxy-new")
    }

    /// The other one.
    pub(super) fn new_kept(&self) -> PathBuf {
        self.0.with_file_name(".import-export.noded-proxy-kept")
    }

    /// The small file. Where the program is gone, Ganeti's own does the transfers.
    pub(in crate::commands) fn text(&self, program: &Path) -> Result<String, String> {
        plain(program)?;
        let (program, kept) = (program.display(), self.kept());
        Ok(format!(
            "#!/bin/sh\n{MARK}\n[ ! -x {program} ] || exec {program} import-export \"$@\"\n\
             exec {} \"$@\"\n",
            kept.display()
        ))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The program that a small file of this package starts; nothing if it is something else.
pub(super) fn program_in(text: &[u8]) -> Option<PathBuf> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    if lines.next() != Some("#!/bin/sh") || lines.next() != Some(MARK) {
        return None;
    }
    let named = lines.next()?.strip_prefix("[ ! -x ")?;
    named.split(' ').next().map(PathBuf::from)
}

/// Whether a path means the same to a shell, without quotes.
fn plain(path: &Path) -> Result<(), String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    let good = path.is_absolute() && path.file_name().is_some() && bytes.iter().all(is_plain);
    good.then_some(()).ok_or_else(|| {
        format!(
            "{:?}: an absolute path of letters, digits and /._+- alone is needed",
            path
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_both_programs_and_is_known_again() {
        let place = Place::new(Path::new("/usr/lib/ganeti/import-export")).unwrap();
        let text = place.text(Path::new("/usr/sbin/noded-proxy")).unwrap();
        let expected = "[ ! -x /usr/sbin/noded-proxy ] || exec /usr/sbin/noded-proxy import-export \
                        \"$@\"\nexec /usr/lib/ganeti/import-export.ganeti \"$@\"\n";
        assert!(text.ends_with(expected), "{text}");
        let program = program_in(text.as_bytes());
        assert_eq!(program, Some("/usr/sbin/noded-proxy".into()));
    }

    #[test]
    fn another_text_is_not_taken_for_it() {
        for text in ["", "#!/bin/sh\n", "#!/usr/bin/python3\n", "\u{fffd}"] {
            assert_eq!(program_in(text.as_bytes()), None, "{text}");
        }
        let marked = format!("#!/bin/sh\necho\n{MARK}\n");
        assert_eq!(program_in(marked.as_bytes()), None);
    }

    #[test]
    fn what_a_shell_would_read_in_another_way_is_refused() {
        for path in [
            "relative", "/a b", "/a'b", "/a$b", "/a\nb", "/", "/a;b", "/é", "",
        ] {
            assert!(Place::new(Path::new(path)).is_err(), "{path}");
        }
        assert!(Place::new(Path::new("/usr/lib/ganeti-3.0_x+y/import-export")).is_ok());
    }
}
