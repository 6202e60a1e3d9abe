//! Which certificate was seen from which node, and when last. `gnt-cluster verify` checks this now
//! and then; here it is checked on every admitted connection. A certificate that two nodes use was
//! copied from one to the other. A sighting never admits or refuses anybody.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use rules::identity::{Digest, PeerIdentity};
use rules::shown::CommonName;

/// Most certificates that are remembered. One more displaces the one that was not seen for longest.
pub(super) const MOST: usize = 4096;

/// Most nodes that are remembered of one certificate.
pub(super) const MOST_NODES: usize = 64;

/// One certificate's sightings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The certificate's common name.
    pub common_name: Option<CommonName>,
    /// Where it was seen last.
    pub address: IpAddr,
    /// When, in seconds since 1970.
    pub last_seen: u64,
    /// Admitted connections.
    pub connections: u64,
    /// The nodes that have the addresses from which it was seen.
    pub nodes: BTreeSet<Box<str>>,
}

/// All sightings, by digest.
pub(super) type All = BTreeMap<Digest, Sighting>;

/// All sightings, also those of earlier runs.
#[derive(Debug, Default)]
pub struct Sightings {
    all: Mutex<All>,
    /// There is something to write.
    unwritten: AtomicBool,
}

impl Sightings {
    /// Remembers an admitted connection, and the node that has the peer's address. If the
    /// certificate was seen from other nodes, but not yet from this one, returns all its nodes.
    pub fn saw(&self, peer: &PeerIdentity, node: Option<&str>) -> Option<BTreeSet<Box<str>>> {
        let (now, mut all) = (SystemTime::now(), self.lock());
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if all.len() >= MOST && !all.contains_key(&peer.digest) {
            let oldest = all.iter().min_by_key(|(_, s)| s.last_seen);
            let oldest = oldest.map(|(digest, _)| *digest);
            oldest.and_then(|digest| all.remove(&digest));
        }
        let seen = all.entry(peer.digest).or_insert_with(|| Sighting {
            common_name: peer.common_name.clone(),
            address: peer.address,
            last_seen: now,
            connections: 0,
            nodes: BTreeSet::new(),
        });
        (seen.address, seen.last_seen) = (peer.address, now);
        seen.connections = seen.connections.saturating_add(1);
        let room = seen.nodes.len() < MOST_NODES;
        let more = node.is_some_and(|node| {
            // First without a copy of the name: nearly always it is known.
            !seen.nodes.contains(node) && room && seen.nodes.insert(node.into())
        });
        if more {
            self.unwritten.store(true, Ordering::Release);
        }
        (more && seen.nodes.len() > 1).then(|| seen.nodes.clone())
    }

    /// What is remembered of a certificate.
    pub fn of(&self, digest: &Digest) -> Option<Sighting> {
        self.lock().get(digest).cloned()
    }

    /// The certificates that several nodes used.
    pub fn shared(&self) -> Vec<(Digest, Sighting)> {
        let all = self.lock();
        let several = all.iter().filter(|(_, seen)| seen.nodes.len() > 1);
        several
            .map(|(digest, seen)| (*digest, seen.clone()))
            .collect()
    }

    /// Whether there is something to write, which the caller then does.
    pub(super) fn take_unwritten(&self) -> bool {
        self.unwritten.swap(false, Ordering::AcqRel)
    }

    /// Forgets all others.
    pub(super) fn retain(&self, stays: impl Fn(&Digest) -> bool) {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|digest, _| stays(digest));
        if all.len() < before {
            self.unwritten.store(true, Ordering::Release);
        }
    }

    /// A copy of all of them.
    pub(super) fn all(&self) -> All {
        self.lock().clone()
    }

    /// Adds those of earlier runs. What is known already is never older.
    pub(super) fn restore(&self, kept: All) {
        let mut all = self.lock();
        for (digest, seen) in kept {
            match all.entry(digest) {
                Entry::Vacant(entry) => {
                    entry.insert(seen);
                }
                Entry::Occupied(mut entry) => entry.get_mut().nodes.extend(seen.nodes),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn peer(digest: u32, last: u8) -> PeerIdentity {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&digest.to_be_bytes());
        PeerIdentity {
            address: IpAddr::from([192, 0, 2, last]),
            digest: Digest::from_bytes(bytes),
            der: Arc::from([]),
            common_name: Some("n1".into()),
            not_before: 0,
            not_after: 0,
        }
    }

    #[test]
    fn a_certificate_seen_from_a_second_node_is_told_once() {
        let sightings = Sightings::default();
        let saw = |last, node| sightings.saw(&peer(1, last), node);
        assert_eq!(saw(1, Some("n1")), None);
        assert_eq!(saw(1, Some("n1")), None);
        assert_eq!(saw(9, None), None, "an address of no node says nothing");
        assert_eq!(saw(2, Some("n2")), Some(["n1".into(), "n2".into()].into()));
        assert_eq!(saw(2, Some("n2")), None, "told once");
        assert_eq!(sightings.saw(&peer(2, 1), Some("n1")), None);
        let shared = sightings.shared();
        assert_eq!((shared.len(), shared[0].0), (1, peer(1, 1).digest));
        assert_eq!(shared[0].1.connections, 5);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let sightings = Sightings::default();
        for n in 0..MOST as u32 + 10 {
            sightings.saw(&peer(n, 1), None);
        }
        assert_eq!(sightings.lock().len(), MOST);
        assert!(sightings.of(&peer(4100, 1).digest).is_some());
        for n in 0..MOST_NODES + 10 {
            sightings.saw(&peer(4100, 1), Some(&format!("n{n}")));
        }
        let nodes = sightings.of(&peer(4100, 1).digest).unwrap().nodes;
        assert_eq!(nodes.len(), MOST_NODES);
    }
}
