//! From the state of the map file to who is admitted: the last good map, and the latch on the
//! bootstrap phase.
//!
//! Pure. If the map is absent or empty, noded assumes the bootstrap phase and admits whoever shows
//! `server.pem`, a certificate that every node holds (`lib/server/noded.py`, `VerifyCertificate`).
//! This module does the same, but only until a map was seen under the present `server.pem`. From
//! then on an absent or empty file is a fault like the others: it never opens the node again, and
//! the last good map stays in force.
//!
//! A node that leaves its cluster loses `server.pem`, and the last good map is dropped with it. That
//! a map was seen under that certificate is not forgotten: a restore that brings back `server.pem`
//! before the map would else open the node to everybody.

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
    /// A map was seen under this `server.pem`, and neither it nor another one is there now.
    #[error("there was a candidate map under this server.pem, and it is gone")]
    MapGone,
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

/// What is known from earlier readings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The last good map, until the node leaves its cluster.
    pub last_good: Option<LastGood>,
    /// The certificates under which there was a map.
    pub latch: Latch,
}

/// Digests of the certificates of `server.pem` under which a map was seen, newest last. Under these
/// the bootstrap phase never opens again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latch(Vec<Digest>);

impl Latch {
    /// Most digests that are remembered. One more displaces the one that was not in force for
    /// longest. A cluster renews `server.pem` every few years, so these are all that it ever had.
    pub const MOST: usize = 64;

    /// Whether a map was seen under this certificate.
    pub fn holds(&self, server: &Digest) -> bool {
        self.0.contains(server)
    }

    /// A map was seen under this certificate.
    pub fn close(&mut self, server: Digest) {
        self.0.retain(|other| *other != server);
        self.0.push(server);
        self.0.drain(..self.0.len().saturating_sub(Self::MOST));
    }

    /// All of them, newest last.
    pub fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.0.iter()
    }
}

impl FromIterator<Digest> for Latch {
    fn from_iter<I: IntoIterator<Item = Digest>>(digests: I) -> Self {
        let mut latch = Self::default();
        digests.into_iter().for_each(|digest| latch.close(digest));
        latch
    }
}

/// The outcome of [`resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Who is admitted from now on.
    pub admission: Admission,
    /// What to remember for the next call.
    pub memory: Memory,
    /// What is in force is not what the map file says. This is a fault (`candidate_map_stale` is
    /// 1).
    pub stale: bool,
}

/// Decides who is admitted. It depends on the map file as found, the present `server.pem`, what is
/// known from earlier readings, and the policy for the bootstrap phase.
pub fn resolve(
    file: MapFile,
    server: ServerPem,
    memory: Memory,
    policy: BootstrapPolicy,
) -> Resolved {
    match server {
        // The node has left the cluster: a map that was seen under the old server.pem says nothing
        // more. That there was one stays known.
        ServerPem::Absent => Resolved::nobody(Nobody::NotInCluster, memory.without_map(), false),
        // server.pem may be good again in a moment, so the last good map is kept. Until then a map
        // that is there is not in force.
        ServerPem::Faulty => {
            let says_something = !matches!(file, MapFile::Absent | MapFile::Empty);
            Resolved::nobody(Nobody::NoIdentity, memory, says_something)
        }
        ServerPem::Known(server) => match (file, &memory.last_good) {
            (MapFile::Listed(map), _) => Resolved::listed(server, Arc::new(map), memory.latch),
            (MapFile::Absent | MapFile::Empty, Some(good)) if good.server == server => {
                Resolved::stale(Arc::clone(&good.map), memory)
            }
            (MapFile::Absent | MapFile::Empty, _) => {
                Resolved::without_a_map(server, memory.without_map(), policy)
            }
            // A fault must not open the node: the old map stays, even under a renewed server.pem.
            (MapFile::Unreadable(_) | MapFile::Malformed(_) | MapFile::TooLarge, Some(good)) => {
                Resolved::stale(Arc::clone(&good.map), memory)
            }
            (MapFile::Unreadable(_) | MapFile::Malformed(_) | MapFile::TooLarge, None) => {
                Resolved::nobody(Nobody::NoGoodMap, memory, true)
            }
        },
    }
}

impl Memory {
    fn without_map(self) -> Self {
        Self {
            last_good: None,
            ..self
        }
    }
}

impl Resolved {
    fn nobody(why: Nobody, memory: Memory, stale: bool) -> Self {
        Self {
            admission: Admission::Nobody(why),
            memory,
            stale,
        }
    }

    /// The map of this moment, which is the last good one from now on.
    fn listed(server: Digest, map: Arc<CandidateMap>, mut latch: Latch) -> Self {
        latch.close(server);
        let admission = Admission::Listed(Arc::clone(&map));
        let last_good = Some(LastGood { server, map });
        Self {
            admission,
            memory: Memory { last_good, latch },
            stale: false,
        }
    }

    /// The last good map stays in force, though the file does not say so.
    fn stale(map: Arc<CandidateMap>, memory: Memory) -> Self {
        Self {
            admission: Admission::Listed(map),
            memory,
            stale: true,
        }
    }

    /// There is no map. If there never was one under this `server.pem`, it is the bootstrap phase.
    fn without_a_map(server: Digest, memory: Memory, policy: BootstrapPolicy) -> Self {
        let admission = match policy {
            _ if memory.latch.holds(&server) => {
                return Self::nobody(Nobody::MapGone, memory, true);
            }
            BootstrapPolicy::Allow => Admission::Bootstrap(server),
            BootstrapPolicy::Refuse => Admission::Nobody(Nobody::BootstrapRefused),
        };
        Self {
            admission,
            memory,
            stale: false,
        }
    }
}

#[cfg(test)]
mod tests;
