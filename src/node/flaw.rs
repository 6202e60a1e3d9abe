//! What can be wrong with a file that others write, with the facts.
//!
//! A flaw says nothing about whose file it is or what follows: the rooms above name the file and
//! judge.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Flaw {
    /// There is no such file.
    Absent,
    /// It holds nothing.
    Empty,
    /// It has more bytes than are read.
    TooLarge {
        /// Bytes that are read.
        limit: usize,
    },
    /// It cannot be read.
    Unreadable {
        /// What the system said.
        why: String,
    },
    /// It cannot be written.
    Unwritable {
        /// What the system said.
        why: String,
    },
    /// Its content is not what it should be.
    Malformed {
        /// The first bad line, from 1, if it is one line that is wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
}

impl Flaw {
    /// Content that is not what it should be.
    pub(crate) fn malformed(why: impl ToString) -> Self {
        Self::Malformed {
            line: None,
            why: why.to_string(),
        }
    }

    /// A bad line, counted from 1.
    pub(crate) fn at_line(line: usize, why: impl ToString) -> Self {
        Self::Malformed {
            line: Some(line),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the file is absent"),
            Self::Empty => f.write_str("the file is empty"),
            Self::TooLarge { limit } => write!(f, "the file has more than {limit} bytes"),
            Self::Unreadable { why } => write!(f, "the file cannot be read: {why}"),
            Self::Unwritable { why } => write!(f, "cannot be written: {why}"),
            Self::Malformed { line: None, why } => f.write_str(why),
            Self::Malformed {
                line: Some(line),
                why,
            } => write!(f, "line {line}: {why}"),
        }
    }
}
