//! The trust snapshot: everything that decides who is admitted, in one immutable value behind one atomic swap.
//!
//! Candidate map, server identity and the TLS acceptor made of them belong together, so they are
//! published together (or not at all, and the old ones stay). Readers never lock. A connection takes the
//! snapshot of the moment for its handshake; the admission decision is taken on the snapshot that is
//! current *when it is taken*.

mod files;
mod reload;
mod ssconf;
mod state;
mod watch;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch as notice;

use crate::authz::{Denied, Permit, Policy, authorise};
use crate::candidates::{Admission, Nobody};
use crate::identity::PeerIdentity;
use crate::tls::{Acceptor, CertificateInfo, Connector};

pub(crate) use files::{Found, read};
pub use reload::{Paths, Reloader};
pub(crate) use state::{Remembered, State};
pub use watch::{Reloads, spawn as watch};

/// One consistent state of trust.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts published snapshots, from 0 (before the first load).
    pub generation: u64,
    /// Who is admitted.
    pub admission: Admission,
    /// The TLS side, absent while there is no usable `server.pem`.
    pub tls: Option<Tls>,
    /// State of the map file at its last reading, one of [`crate::candidates::MapFile::STATES`].
    pub map_state: &'static str,
    /// When the map in force was read.
    pub map_loaded: Option<SystemTime>,
    /// Addresses of the master candidates (`ssconf_master_candidates_ips`). They admit nobody.
    pub candidate_addresses: Arc<HashSet<IpAddr>>,
    /// Primary addresses of the nodes by name (`ssconf_node_primary_ips`).
    pub primary_addresses: Arc<HashMap<String, IpAddr>>,
    /// Name of the master (`ssconf_master_node`).
    pub master_node: Option<Arc<str>>,
    /// What is wrong now, one line each; empty when all is well.
    pub faults: Vec<String>,
}

/// What is made of `server.pem`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Ends TLS on the public listener.
    pub acceptor: Acceptor,
    /// Speaks TLS to noded (`upstream.tls`).
    pub connector: Connector,
    /// The certificate.
    pub server: CertificateInfo,
}

impl Snapshot {
    fn before_the_first_load() -> Self {
        Self {
            generation: 0,
            admission: Admission::Nobody(Nobody::NotInCluster),
            tls: None,
            map_state: "absent",
            map_loaded: None,
            candidate_addresses: Arc::default(),
            primary_addresses: Arc::default(),
            master_node: None,
            faults: Vec::new(),
        }
    }
}

/// The current snapshot, shared by all.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<Snapshot>,
    changed: notice::Sender<u64>,
    policy: Policy,
}

impl Store {
    /// A store that admits nobody until the first snapshot is published.
    pub fn new(policy: Policy) -> Arc<Self> {
        let current = ArcSwap::from_pointee(Snapshot::before_the_first_load());
        Arc::new(Self {
            current,
            changed: notice::Sender::new(0),
            policy,
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

    /// Told the generation of each snapshot after it was published.
    pub fn subscribe(&self) -> notice::Receiver<u64> {
        self.changed.subscribe()
    }

    /// May this peer command noded now?
    pub fn authorise(&self, peer: &PeerIdentity) -> Result<Permit, Denied> {
        authorise(peer, &self.current().admission, self.policy, now())
    }

    fn publish(&self, mut snapshot: Snapshot) -> Arc<Snapshot> {
        snapshot.generation = self.current().generation + 1;
        let generation = snapshot.generation;
        let snapshot = Arc::new(snapshot);
        self.current.store(Arc::clone(&snapshot));
        self.changed.send_replace(generation);
        snapshot
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}
