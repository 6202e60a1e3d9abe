//! What `check` says: one finding for each thing that was looked at. It never looks at anything
//! itself.

use std::net::SocketAddr;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// Something would fail, or is open to those who should be kept out.
    Error,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; stable.
    pub id: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// One line: which file or key, its value, and what to do.
    pub message: String,
}

impl Finding {
    pub(super) fn new(id: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            id,
            verdict,
            message: message.into().replace('\n', " "),
        }
    }

    pub(super) fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Ok, message)
    }

    pub(super) fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Warning, message)
    }

    pub(super) fn error(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Error, message)
    }
}

/// Whether other machines cannot reach this address, as far as the address tells.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
