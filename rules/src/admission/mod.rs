//! From the state of the map file to who is admitted: the last good map, and the latch on the
//! bootstrap phase.
//!
//! Pure. If the map is absent or empty, noded assumes the bootstrap phase and admits whoever shows
//! `server.pem`, a certificate that every node holds (`lib/server/noded.py`, `VerifyCertificate`).
//! This module does the same, but only until a map was seen under the present `server.pem`. From
//! then on an absent or empty file is a fault like the others: it never opens the node again, and
//! the last good map stays in force.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::candidates::{CandidateMap, MapFile};
use crate::identity::Digest;

/// Who is admitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The certificates of the candidate map.
    Listed(Arc<CandidateMap>),
    /// Bootstrap phase: the certificate of `server.pem` alone.
    Bootstrap(Digest),
    /// Nobody at all.
    Nobody(Nobody),
}

impl Admission {
    /// The phase's name in `/status` and in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Listed(_) => "listed",
            Self::Bootstrap(_) => "bootstrap",
            Self::Nobody(_) => "nobody",
        }
    }

    /// Entries of the map in force, 0 when there is none.
    pub fn entries(&self) -> usize {
        match self {
            Self::Listed(map) => map.entries(),
            Self::Bootstrap(_) | Self::Nobody(_) => 0,
        }
    }
}

/// Why nobody is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Nobody {
    /// There is no `server.pem`: the node has not joined a cluster, or has left it.
    #[error("this node is in no cluster (there is no server.pem)")]
    NotInCluster,
    /// `server.pem` is there but cannot be used, and no usable one was ever seen.
    #[error("server.pem is faulty and no good one is known")]
    NoIdentity,
    /// `bootstrap = "refuse"`, and there is no candidate map yet.
    #[error("there is no candidate map, and the bootstrap phase is turned off")]
    BootstrapRefused,
    /// The candidate map has never been readable under this `server.pem`.
    #[error("the candidate map is faulty and no good one is known")]
    NoGoodMap,
}

/// Whether an absent or empty candidate map opens the bootstrap phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BootstrapPolicy {
    /// It does, as in noded, until a map was seen under the present `server.pem`.
    #[default]
    Allow,
    /// It never does.
    Refuse,
}

/// What is known of `server.pem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPem {
    /// There is no such file: the node is in no cluster.
    Absent,
    /// There is one, but it cannot be used, and no usable one was ever seen.
    Faulty,
    /// The certificate in force has this digest.
    Known(Digest),
}

/// The last good map, bound to the `server.pem` under which it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGood {
    /// Digest of the certificate in `server.pem` at that time.
    pub server: Digest,
    /// The map.
    pub map: Arc<CandidateMap>,
}

/// The outcome of [`resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Who is admitted from now on.
    pub admission: Admission,
    /// The map to remember for the next call.
    pub last_good: Option<LastGood>,
    /// Another map is in force than the file says. This is a fault (`candidate_map_stale` is 1).
    pub stale: bool,
}

/// Decides who is admitted. It depends on the map file as found, the present `server.pem`, the last
/// good map, and the policy for the bootstrap phase.
pub fn resolve(
    file: MapFile,
    server: ServerPem,
    last_good: Option<LastGood>,
    policy: BootstrapPolicy,
) -> Resolved {
    match server {
        // The node has left the cluster: a map that was seen under the old server.pem says nothing.
        ServerPem::Absent => Resolved::nobody(Nobody::NotInCluster, None),
        // server.pem may be good again in a moment, so the last good map is kept.
        ServerPem::Faulty => Resolved::nobody(Nobody::NoIdentity, last_good),
        ServerPem::Known(server) => match file {
            MapFile::Listed(map) => Resolved::listed(server, Arc::new(map)),
            MapFile::Absent | MapFile::Empty => match last_good {
                Some(good) if good.server == server => Resolved::stale(good),
                _ => Resolved::never_listed(server, policy),
            },
            MapFile::Unreadable(_) | MapFile::Malformed(_) | MapFile::TooLarge => match last_good {
                // A fault must not open the node: the old map stays, even under a renewed
                // server.pem.
                Some(good) => Resolved::stale(good),
                None => Resolved {
                    stale: true,
                    ..Resolved::nobody(Nobody::NoGoodMap, None)
                },
            },
        },
    }
}

impl Resolved {
    fn nobody(why: Nobody, last_good: Option<LastGood>) -> Self {
        Self {
            admission: Admission::Nobody(why),
            last_good,
            stale: false,
        }
    }

    /// The map of this moment, which is the last good one from now on.
    fn listed(server: Digest, map: Arc<CandidateMap>) -> Self {
        Self {
            admission: Admission::Listed(Arc::clone(&map)),
            last_good: Some(LastGood { server, map }),
            stale: false,
        }
    }

    /// The last good map stays in force, though the file does not say so.
    fn stale(good: LastGood) -> Self {
        Self {
            admission: Admission::Listed(Arc::clone(&good.map)),
            last_good: Some(good),
            stale: true,
        }
    }

    /// No map was ever seen under this `server.pem`.
    fn never_listed(server: Digest, policy: BootstrapPolicy) -> Self {
        let admission = match policy {
            BootstrapPolicy::Allow => Admission::Bootstrap(server),
            BootstrapPolicy::Refuse => Admission::Nobody(Nobody::BootstrapRefused),
        };
        Self {
            admission,
            last_good: None,
            stale: false,
        }
    }
}

#[cfg(test)]
mod tests;
