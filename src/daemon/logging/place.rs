//! Where standard error leads, and so which form the log has if nobody has chosen one.

use std::io::{self, Stderr};

use rustix::fs::fstat;

use crate::config::LogFormat;

/// Whether standard error is systemd's journal, which writes its own time beside each line.
pub(super) fn is_journal(variable: Option<&str>, stderr: &Stderr) -> bool {
    fstat(stderr).is_ok_and(|found| names(variable, found.st_dev, found.st_ino))
}

/// Whether `JOURNAL_STREAM` (systemd.exec(5)) names this file. A program with another standard error
/// than its service inherits the variable, too.
fn names(variable: Option<&str>, device: u64, inode: u64) -> bool {
    let parts = variable.and_then(|text| text.split_once(':'));
    let parts = parts.map(|(device, inode)| (device.parse(), inode.parse()));
    parts == Some((Ok(device), Ok(inode)))
}

/// The form that is meant when none is chosen. `journal`: what [`is_journal`] found. A journal that
/// cannot be reached by its socket gets text.
pub(super) fn usual<J>(journal: bool, open: impl FnOnce() -> io::Result<J>) -> LogFormat {
    match journal && open().is_ok() {
        true => LogFormat::Journald,
        false => LogFormat::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_must_name_the_very_file() {
        for (variable, expected) in [
            (None, false),
            (Some(""), false),
            (Some("9:77"), true),
            (Some("9:78"), false),
            (Some("8:77"), false),
            (Some("9"), false),
            (Some("9:77:1"), false),
            (Some("a:b"), false),
        ] {
            assert_eq!(names(variable, 9, 77), expected, "{variable:?}");
        }
    }

    #[test]
    fn the_usual_form_as_a_table() {
        let none = || Err::<(), _>(io::Error::other("none"));
        assert_eq!(usual(true, || Ok(())), LogFormat::Journald);
        assert_eq!(usual(true, none), LogFormat::Text);
        assert_eq!(usual(false, || Ok(())), LogFormat::Text);
    }
}
