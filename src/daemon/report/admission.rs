//! Who is admitted, as shown: the trust part of a report, and systemd's status line made of it.
//!
//! It repeats what the snapshot says, and never asks about a peer.

use serde::{Deserialize, Serialize};

use super::words::count;
use crate::trust::Snapshot;
use rules::admission::{self, Nobody};
use rules::authz::Mode;
use rules::candidates::MapState;
use rules::identity::Digest;

/// Candidates in a report; `/certs` has all of them.
const MOST: usize = 100;

/// Who is admitted, and what that follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Which of the three phases it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// State of the map file at its last reading.
    pub map_file: MapState,
    /// Entries of the map in force.
    pub entries: usize,
    /// Seconds since the map in force was read; `None` for never.
    pub map_age_seconds: Option<u64>,
    /// Counts the changes of what is in force.
    pub generation: u64,
    /// Name of the master.
    pub master: Option<String>,
    /// So many addresses of candidates are known.
    pub candidate_addresses: usize,
    /// What is wrong with the files, one line each.
    pub faults: Vec<String>,
    /// The candidates of the map, the first hundred of them.
    pub candidates: Vec<Candidate>,
}

/// Who is admitted, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The candidates of the map.
    Listed,
    /// The certificate of `server.pem`.
    Bootstrap,
    /// Nobody.
    Nobody {
        /// Why.
        why: Nobody,
    },
}

/// One line of the candidate map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its key, usually the node's UUID.
    pub key: String,
    /// Digest of its certificate.
    pub digest: Digest,
}

impl Admission {
    /// What this snapshot says.
    pub fn of(snapshot: &Snapshot) -> Self {
        let loaded = snapshot.map_loaded.and_then(|at| at.elapsed().ok());
        Self {
            phase: Phase::of(&snapshot.admission),
            map_file: snapshot.map_state,
            entries: snapshot.admission.entries(),
            map_age_seconds: loaded.map(|age| age.as_secs()),
            generation: snapshot.generation,
            master: snapshot
                .leadership
                .seat
                .as_ref()
                .map(|seat| seat.name.to_string()),
            candidate_addresses: snapshot.candidate_addresses.len(),
            faults: snapshot.faults.iter().map(ToString::to_string).collect(),
            candidates: Candidate::list(&snapshot.admission, MOST),
        }
    }

    /// The line that `systemctl status` shows.
    pub fn status_line(&self, mode: Mode) -> String {
        let audit = match mode {
            Mode::Audit => "AUDIT MODE, every node is admitted; ",
            Mode::Enforce => "",
        };
        let fault = self.faults.first();
        let fault = fault.map_or_else(String::new, |fault| format!("; {fault}"));
        match self.phase {
            Phase::Nobody {
                why: Nobody::NotInCluster,
            } => "waiting for server.pem: this node is in no cluster yet".into(),
            Phase::Nobody {
                why: Nobody::NoIdentity,
            } => format!("waiting for server.pem: the one that is there is faulty{fault}"),
            Phase::Nobody { why } => format!("nobody is admitted: {why}{fault}"),
            Phase::Bootstrap => {
                format!("{audit}bootstrap phase: the certificate of server.pem is admitted{fault}")
            }
            Phase::Listed => {
                let candidates = count(self.entries, "candidate");
                format!("{audit}{candidates} admitted{fault}")
            }
        }
    }
}

impl Phase {
    pub(super) fn of(admission: &admission::Admission) -> Self {
        match admission {
            admission::Admission::Listed(_) => Self::Listed,
            admission::Admission::Bootstrap(_) => Self::Bootstrap,
            admission::Admission::Nobody(why) => Self::Nobody { why: *why },
        }
    }

    /// The phase's name, as in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Bootstrap => "bootstrap",
            Self::Nobody { .. } => "nobody",
        }
    }
}

impl Candidate {
    /// The candidates of the map in force, `most` at most.
    pub(super) fn list(admission: &admission::Admission, most: usize) -> Vec<Self> {
        let map = match admission {
            admission::Admission::Listed(map) => map,
            admission::Admission::Bootstrap(_) | admission::Admission::Nobody(_) => return vec![],
        };
        let lines = map.iter().take(most).map(|(key, digest)| {
            let key = key.to_owned();
            Self { key, digest }
        });
        lines.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn admission(phase: Phase, faults: &[&str]) -> Admission {
        Admission {
            phase,
            map_file: MapState::Listed,
            entries: 3,
            map_age_seconds: Some(7),
            generation: 2,
            master: None,
            candidate_addresses: 0,
            faults: faults.iter().map(ToString::to_string).collect(),
            candidates: Vec::new(),
        }
    }

    #[test]
    fn the_status_line_as_a_table() {
        use Mode::{Audit, Enforce};
        let nobody = |why| Phase::Nobody { why };
        let table = [
            (Phase::Listed, Enforce, &[][..], "3 candidates admitted"),
            (
                Phase::Listed,
                Enforce,
                &["a", "b"],
                "3 candidates admitted; a",
            ),
            (
                Phase::Listed,
                Audit,
                &[],
                "AUDIT MODE, every node is admitted; 3 candidates admitted",
            ),
            (
                Phase::Bootstrap,
                Enforce,
                &[],
                "bootstrap phase: the certificate of server.pem is admitted",
            ),
            (
                nobody(Nobody::NotInCluster),
                Audit,
                &["a"],
                "waiting for server.pem: this node is in no cluster yet",
            ),
            (
                nobody(Nobody::NoIdentity),
                Enforce,
                &["a"],
                "waiting for server.pem: the one that is there is faulty; a",
            ),
            (
                nobody(Nobody::NoGoodMap),
                Enforce,
                &["a"],
                "nobody is admitted: the candidate map is faulty and no good one is known; a",
            ),
        ];
        for (phase, mode, faults, line) in table {
            assert_eq!(admission(phase, faults).status_line(mode), line);
        }
    }

    #[test]
    fn the_phase_is_a_word_beside_the_others() {
        let phases = [
            (Phase::Listed, "listed"),
            (Phase::Bootstrap, "bootstrap"),
            (
                Phase::Nobody {
                    why: Nobody::NoGoodMap,
                },
                "nobody",
            ),
        ];
        for (phase, name) in phases {
            assert_eq!(phase.name(), name);
            let shown = admission(phase, &[]);
            let json = serde_json::to_value(&shown).unwrap();
            assert_eq!(
                (&json["phase"], &json["entries"]),
                (&name.into(), &3.into())
            );
            assert_eq!(serde_json::from_value::<Admission>(json).unwrap(), shown);
        }
    }
}
