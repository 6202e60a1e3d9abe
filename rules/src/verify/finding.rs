//! One thing that `verify` finds, made of the closed list of ids and of what was seen. Nothing is
//! looked at here, and no text of a stranger gets out of it unescaped.

use serde::Serialize;

use super::ids::{Id, Severity};
use crate::shown::printable;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which of the closed list.
    pub id: Id,
    /// The file, UUID or key.
    pub subject: String,
    /// What was found, in one line.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// A finding of this id about `subject`.
    pub(super) fn new(id: Id, subject: &str, what: impl AsRef<str>) -> Self {
        Self {
            severity: id.severity(),
            id,
            subject: printable(subject),
            what: one_line(what.as_ref()),
            why: id.why(),
            remedy: id.remedy(),
        }
    }
}

/// Each part of a text is short and printable already; this holds for the whole, too.
fn one_line(text: &str) -> String {
    const MOST: usize = 600;
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().take(MOST).map(plain).collect()
}
