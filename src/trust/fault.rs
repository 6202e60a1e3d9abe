//! What is wrong with the files that decide who is admitted, with the facts.
//!
//! A fault is a value: logs and people read its text ([`std::fmt::Display`]), programs its fields.
//! It never says what was *in* a file: the content may be a key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::known::{Collision, Source};
use super::metrics::File;
use crate::node::flaw::Flaw;
use rules::Named;
use rules::candidates::{MAX_BYTES, MapFile};
use rules::identity::Digest;
use rules::master::Doubt;

/// One thing that is wrong now. What was in force before it stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "file", rename_all = "snake_case")]
pub enum Fault {
    /// The candidate map does not say what is in force.
    CandidateMap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// `server.pem` is there and cannot be used.
    ServerPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A file in `candidate_certs`, or `candidate_bundle`.
    CandidateCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// `candidate_certs` is not a directory.
    CandidateDirectory {
        /// What should be one.
        path: PathBuf,
    },
    /// One of Ganeti's other ssconf files.
    Ssconf {
        /// Its name in the ssconf directory.
        name: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// Two different certificates have one digest, so one of them is forged.
    SameDigest {
        /// The digest.
        digest: Digest,
        /// Where the certificate that counts comes from.
        first: Source,
        /// Where the other one comes from.
        second: Source,
    },
    /// `ssconf_master_node` names a master that the old one did not announce.
    Master(Doubt),
    /// The state directory's file that keeps the master's name.
    MasterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The TLS library takes no client CA list of these names.
    ClientCaList {
        /// What it said.
        why: String,
    },
    /// The state directory, or a file in it: what is remembered would not outlive the process.
    State {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The files cannot be watched.
    Watches {
        /// The first directory that is not watched, or none if nothing is.
        path: Option<PathBuf>,
        /// What the system said.
        why: String,
    },
    /// The program itself failed while it read the files.
    Reading {
        /// What it said.
        why: String,
    },
}

impl Fault {
    /// The state directory cannot be written.
    pub(super) fn unwritable(state_dir: &Path, error: &std::io::Error) -> Self {
        Self::State {
            path: state_dir.to_owned(),
            flaw: Flaw::Unwritable {
                why: error.to_string(),
            },
        }
    }

    /// Which of the files that are counted is at fault; none if it is no file.
    pub(super) fn file(&self) -> Option<File> {
        Some(match self {
            Self::CandidateMap { .. } => File::CandidateMap,
            Self::ServerPem { .. } => File::ServerPem,
            Self::CandidateCertificates { .. }
            | Self::CandidateDirectory { .. }
            | Self::SameDigest { .. } => File::CandidateCertificates,
            Self::Ssconf { .. } => File::Ssconf,
            Self::State { .. } | Self::MasterFile { .. } => File::State,
            Self::Watches { .. } | Self::Reading { .. } => File::Watches,
            Self::Master(_) | Self::ClientCaList { .. } => return None,
        })
    }

    /// Whether this is about the same thing as another fault, which may be another fault of it.
    pub(super) fn is_about_the_same(&self, other: &Self) -> bool {
        let place = |fault: &Self| match fault {
            Self::CandidateMap { path, .. }
            | Self::ServerPem { path, .. }
            | Self::CandidateCertificates { path, .. }
            | Self::CandidateDirectory { path }
            | Self::MasterFile { path, .. }
            | Self::State { path, .. } => Some(path.clone()),
            Self::Ssconf { name, .. } => Some(name.into()),
            Self::SameDigest { digest, .. } => Some(digest.to_string().into()),
            Self::Master(_)
            | Self::ClientCaList { .. }
            | Self::Watches { .. }
            | Self::Reading { .. } => None,
        };
        self.file() == other.file() && place(self) == place(other)
    }
    /// Why a map file cannot be what is in force; `None` for a good one.
    pub(super) fn of_map(path: &Path, map: &MapFile) -> Option<Self> {
        let flaw = match map {
            MapFile::Listed(_) => return None,
            MapFile::Absent => Flaw::Absent,
            MapFile::Empty => Flaw::Empty,
            MapFile::TooLarge => Flaw::TooLarge { limit: MAX_BYTES },
            MapFile::Unreadable(why) => Flaw::Unreadable { why: why.clone() },
            MapFile::Malformed(error) => Flaw::at_line(error.line, error.fault),
        };
        let path = path.to_owned();
        Some(Self::CandidateMap { path, flaw })
    }
}

/// What is said of a map that is gone after there was one.
const LATCHED: &str = ", but there was a map under this server.pem, so this does not open the \
    bootstrap phase: gnt-cluster copyfile -n NODE FILE on the master writes the map anew, by ssh; \
    if the cluster is to have none, run noded-proxy reset";

/// What follows while the state directory is at fault.
const UNSAVED: &str = "what this proxy remembers may not outlive the process";

/// What follows while files are not watched.
const POLLED: &str = "changes are found by a poll every 5 s (are fs.inotify.max_user_watches and \
    max_user_instances too low?)";

/// All faults, each of them once.
pub(super) fn distinct(mut faults: Vec<Fault>, more: Vec<Fault>) -> Vec<Fault> {
    faults.extend(more);
    let mut all = Vec::new();
    for fault in faults {
        if !all.contains(&fault) {
            all.push(fault);
        }
    }
    all
}

impl From<Collision> for Fault {
    fn from(found: Collision) -> Self {
        Self::SameDigest {
            digest: found.digest,
            first: found.first,
            second: found.second,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CandidateMap { path, flaw } => {
                write!(f, "candidate map {}: {flaw}", path.display())?;
                match flaw {
                    Flaw::Absent | Flaw::Empty => f.write_str(LATCHED),
                    _ => Ok(()),
                }
            }
            Self::ServerPem { path, flaw } => write!(f, "server.pem {}: {flaw}", path.display()),
            Self::CandidateCertificates { path, flaw } => {
                write!(f, "candidate certificates {}: {flaw}", path.display())
            }
            Self::CandidateDirectory { path } => {
                write!(f, "candidate_certs {}: not a directory", path.display())
            }
            Self::Ssconf { name, flaw } => write!(f, "{name}: {flaw}"),
            Self::SameDigest {
                digest,
                first,
                second,
            } => write!(
                f,
                "two different certificates have the digest {digest} ({}, {}): the first counts",
                first.name(),
                second.name()
            ),
            Self::Master(doubt) => doubt.fmt(f),
            Self::MasterFile { path, flaw } => write!(f, "master {}: {flaw}", path.display()),
            Self::ClientCaList { why } => write!(f, "client CA list: {why}"),
            Self::State { path, flaw } => {
                write!(f, "state {}: {flaw}; {UNSAVED}", path.display())
            }
            Self::Watches { path, why } => {
                let path = path.as_deref().unwrap_or_else(|| Path::new("inotify"));
                write!(f, "{} is not watched: {why}; {POLLED}", path.display())
            }
            Self::Reading { why } => write!(
                f,
                "the program failed while it read the files: {why}; what was in force stays in \
                 force, also for who has left the map"
            ),
        }
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
