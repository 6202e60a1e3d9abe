//! The current snapshot, which all share. It is replaced in one atomic swap, and read without a lock.
//! It must never change a snapshot that is published.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch as notice;

use super::sightings::Sightings;
use super::{Snapshot, now};
use rules::authz::{Denied, Permit, Policy};
use rules::identity::PeerIdentity;

/// The current snapshot, shared by all.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<Snapshot>,
    changed: notice::Sender<u64>,
    policy: Policy,
    sightings: Sightings,
}

impl Store {
    /// A store that admits nobody until the first snapshot is published.
    pub fn new(policy: Policy) -> Arc<Self> {
        let current = ArcSwap::from_pointee(Snapshot::before_the_first_load());
        Arc::new(Self {
            current,
            changed: notice::Sender::new(0),
            policy,
            sightings: Sightings::default(),
        })
    }

    /// The snapshot of this moment. Do not hold it across an await; clone the `Arc` for that.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot of this moment, to keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Receives the generation of each snapshot after it was published.
    pub fn subscribe(&self) -> notice::Receiver<u64> {
        self.changed.subscribe()
    }

    /// May this peer command noded now?
    pub fn authorise(&self, peer: &PeerIdentity) -> Result<Permit, Denied> {
        self.current().authorise(peer, self.policy, now())
    }

    /// What the administrator decided.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Which certificate was seen from which node.
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    pub(super) fn publish(&self, mut snapshot: Snapshot) -> Arc<Snapshot> {
        snapshot.generation = self.current().generation + 1;
        let generation = snapshot.generation;
        let snapshot = Arc::new(snapshot);
        self.current.store(Arc::clone(&snapshot));
        self.changed.send_replace(generation);
        snapshot
    }
}
