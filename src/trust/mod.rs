//! The trust snapshot: everything that decides who is admitted, in one immutable value that is
//! replaced in one atomic swap.
//!
//! The candidate map, the server identity and the TLS acceptor made of them belong together. They
//! are published together, or not at all, and then the old ones stay. Readers never lock. A
//! connection uses the current snapshot for its handshake. The decision to admit it is made on the
//! snapshot that is current *at that moment*, which may be a later one.

mod bequest;
mod fault;
mod keeper;
mod known;
mod learned;
mod metrics;
mod paths;
mod reload;
mod reset;
mod seat;
mod server_pem;
mod sighted;
pub mod sightings;
mod sources;
mod state;
mod store;
mod tell;
mod watch;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::node::ssconf::Ssconf;
use crate::tls::{
    Acceptor, CertificateInfo, Connector, Issuer, KeyKind, ServerCertificate, excludes_clients,
};
use rules::admission::{Admission, Nobody};
use rules::authz::{Denied, Facts, Mode, Permit, Policy, authorise};
use rules::candidates::MapState;
use rules::identity::PeerIdentity;
use rules::master::Role;

pub use bequest::Bequest;
pub use fault::Fault;
pub use known::{CaList, CaState, Known, KnownCertificate, Source, WhenIncomplete};
pub(crate) use metrics::Certificate;
pub use metrics::Metrics;
pub use paths::{Paths, ReloadSettings};
pub use reload::{Reloader, snapshot_from_files};
pub(crate) use reset::forget;
pub use seat::Leadership;
pub use sources::Sources;
pub(crate) use sources::{MAX_PEM, certificate_files};
pub(crate) use state::{Remembered, State};
pub use store::Store;
pub use watch::{Reloads, spawn as watch};

/// One consistent state of trust.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts published snapshots, from 0 (before the first load).
    pub generation: u64,
    /// Who is admitted.
    pub admission: Admission,
    /// The candidates' certificates as far as they are known.
    pub known: Arc<Known>,
    /// The TLS side, absent while there is no usable `server.pem`.
    pub tls: Option<Tls>,
    /// State of the map file at its last reading.
    pub map_state: MapState,
    /// Whether there ever was a map, under whichever `server.pem`; none if that is not known,
    /// because the state directory could not be written at the start.
    pub had_map: Option<bool>,
    /// When the map in force was read.
    pub map_loaded: Option<SystemTime>,
    /// Addresses of the master candidates (`ssconf_master_candidates_ips`). They admit nobody.
    pub candidate_addresses: Arc<HashSet<IpAddr>>,
    /// Primary addresses of the nodes by name (`ssconf_node_primary_ips`).
    pub primary_addresses: Arc<HashMap<String, IpAddr>>,
    /// Who is master, as this node believes it.
    pub leadership: Leadership,
    /// What is wrong now; empty when all is well.
    pub faults: Vec<Fault>,
}

/// What is made of `server.pem`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Ends TLS on the public listener.
    pub acceptor: Acceptor,
    /// Speaks TLS to noded (`upstream.tls`).
    pub connector: Connector,
    /// Which certificate clients are shown.
    pub shown: ServerCertificate,
    /// The certificate of `server.pem`.
    pub server: CertificateInfo,
    /// Tells certificates of this cluster from others.
    pub issuer: Issuer,
    /// What the acceptor sends as client CA list.
    pub client_cas: CaList,
}

impl Snapshot {
    fn before_the_first_load() -> Self {
        Self {
            generation: 0,
            admission: Admission::Nobody(Nobody::NotInCluster),
            known: Arc::default(),
            tls: None,
            map_state: MapState::Absent,
            had_map: None,
            map_loaded: None,
            candidate_addresses: Arc::default(),
            primary_addresses: Arc::default(),
            leadership: Leadership::default(),
            faults: Vec::new(),
        }
    }

    /// May this peer command noded by what this snapshot says?
    pub fn authorise(
        &self,
        peer: &PeerIdentity,
        policy: Policy,
        now: i64,
    ) -> Result<Permit, Denied> {
        let tls = self.tls.as_ref();
        let server = tls.map(|tls| &tls.server);
        let server_der = || server.filter(|s| s.digest == peer.digest).map(|s| &*s.der);
        let made_here = || tls.is_some_and(|tls| tls.issuer.issued(&peer.der));
        let audit = policy.mode == Mode::Audit;
        let facts = Facts {
            admission: &self.admission,
            known: self.known.der(&peer.digest).or_else(server_der),
            candidate_addresses: &self.candidate_addresses,
            primary_addresses: &self.primary_addresses,
            cluster: server.and_then(|s| s.common_name.as_deref()),
            master_ip: self.leadership.master_ip,
            of_the_cluster: audit && made_here(),
            excludes_clients: audit && excludes_clients(&peer.der),
            now,
        };
        authorise(peer, &facts, policy)
    }

    /// The role of a peer that is admitted.
    pub fn role(&self, permit: &Permit, peer: &PeerIdentity) -> Role {
        let server = self.tls.as_ref().map(|tls| &tls.server);
        let cluster = server.and_then(|server| server.common_name.as_deref());
        let addresses = &self.primary_addresses;
        self.leadership.role(permit, peer, addresses, cluster)
    }

    /// Whether this snapshot has the addresses of these files.
    fn says_of_the_nodes(&self, ssconf: &Ssconf) -> bool {
        self.candidate_addresses == ssconf.candidate_addresses
            && self.primary_addresses == ssconf.primary_addresses
    }

    /// Whether the peer shows the certificate of `server.pem`.
    pub fn is_of_server_pem(&self, peer: &PeerIdentity) -> bool {
        let server = self.tls.as_ref().map(|tls| tls.server.digest);
        server == Some(peer.digest)
    }

    /// Whether this is the address of a master candidate, or that of the cluster, which the master
    /// holds. It proves nothing.
    pub fn is_address_of_candidate(&self, address: IpAddr) -> bool {
        let master = self.leadership.master_ip;
        self.candidate_addresses.contains(&address) || master == Some(address)
    }

    /// Whether a caller from this address may use the worker that is kept for candidates. While no
    /// candidate's address is known, nobody can be told from a candidate, so everybody may.
    pub fn may_be_candidate(&self, address: IpAddr) -> bool {
        self.candidate_addresses.is_empty() || self.is_address_of_candidate(address)
    }

    /// The node that has this primary address.
    pub fn node_at(&self, address: IpAddr) -> Option<&str> {
        let mut nodes = self.primary_addresses.iter();
        let found = nodes.find(|(_, primary)| **primary == address);
        found.map(|(name, _)| name.as_str())
    }
}

impl Snapshot {
    /// The kind of key of the node at this address, if its certificate is known and clients show
    /// none for such a key.
    pub fn kept_back(&self, address: IpAddr) -> Option<KeyKind> {
        let node = self.node_at(address)?;
        let named =
            |known: &&Arc<KnownCertificate>| known.info.common_name.as_deref() == Some(node);
        let kinds = self.known.iter().filter(named);
        kinds
            .map(|known| known.info.kind)
            .find(|kind| !kind.is_asked_for())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_of_addresses_nobody_waits_behind_a_candidate() {
        let mut snapshot = Snapshot::before_the_first_load();
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        assert!(snapshot.may_be_candidate(one) && snapshot.may_be_candidate(two));
        snapshot.candidate_addresses = Arc::new([one].into());
        assert!(snapshot.may_be_candidate(one) && !snapshot.may_be_candidate(two));
    }

    #[test]
    fn the_cluster_s_own_address_counts_as_a_candidate_s_and_its_neighbours_do_not() {
        let mut snapshot = Snapshot::before_the_first_load();
        let [one, two, master] = ["2001:db8::1", "2001:db8::2", "2001:db8::200"]
            .map(|text| text.parse::<IpAddr>().unwrap());
        snapshot.leadership.master_ip = Some(master);
        assert!(snapshot.may_be_candidate(two), "no list, no strangers");
        snapshot.candidate_addresses = Arc::new([one].into());
        let found = [one, two, master].map(|address| snapshot.is_address_of_candidate(address));
        assert_eq!(found, [true, false, true]);
        assert!(snapshot.may_be_candidate(master) && !snapshot.may_be_candidate(two));
    }
}
