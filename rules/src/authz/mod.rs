//! The rule: may this peer command the node daemon now?
//!
//! Pure. [`authorise`] is a function of plain values. Its answer is a [`Permit`], and without one
//! `forward` accepts no request. It is asked in the handshake (for the TLS alert), after it, and
//! again for each request, each time with the facts of that moment.

mod place;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::admission::{Admission, Nobody};
use crate::identity::PeerIdentity;
use crate::named;
use place::{Cluster, Misfit, misfit};

/// What the administrator decided beyond the candidate map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Policy {
    /// Refuse certificates outside their validity. Off by default: noded does not look at the dates
    /// either, and the renewal of an expired certificate needs RPC.
    pub reject_expired: bool,
    /// Whether the peer's address must fit its certificate.
    pub bind_peer: BindPeer,
    /// Which rule decides.
    pub mode: Mode,
}

// The label of `noded_proxy_mode`.
named! {
    /// Which rule decides.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Mode {
        /// The candidate map.
        #[default]
        Enforce = "enforce",
        /// For the roll-out: every holder of a certificate of the cluster is admitted too, as
        /// before Ganeti 2.11. What `enforce` would have refused is counted and logged.
        Audit = "audit",
    }
}

/// Whether the peer's address must be that of a master candidate, and the one its certificate
/// names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BindPeer {
    /// The address does not matter.
    #[default]
    Off,
    /// An address that does not fit is counted and logged.
    Warn,
    /// An address that does not fit is refused.
    Enforce,
}

/// The facts of a moment, on which the rule decides.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who is admitted.
    pub admission: &'a Admission,
    /// DER of the certificate that is known for the peer's digest.
    pub known: Option<&'a [u8]>,
    /// Primary addresses of the master candidates.
    pub candidate_addresses: &'a HashSet<IpAddr>,
    /// Primary addresses of the nodes by name.
    pub primary_addresses: &'a HashMap<String, IpAddr>,
    /// Common name of `server.pem`.
    pub cluster: Option<&'a str>,
    /// The cluster's own address, from which a master may call.
    pub master_ip: Option<IpAddr>,
    /// Whether the certificate is that of `server.pem` or signed by it, which admitted a peer
    /// before Ganeti 2.11. Only [`Mode::Audit`] looks at it.
    pub of_the_cluster: bool,
    /// Whether the certificate says that it is not for clients, such as the one that the proxy makes
    /// for itself. Only [`Mode::Audit`] looks at it.
    pub excludes_clients: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// Proof that [`authorise`] admitted the peer. Nothing else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    key: Box<str>,
    outside_validity: Option<Denied>,
    misplaced: Option<Denied>,
    audited: Option<Denied>,
}

impl Permit {
    /// The key of the candidate map that admitted the peer (usually the node UUID), or
    /// `server.pem` in the bootstrap phase, or `audit`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Set when the certificate is expired or not yet valid and was admitted all the same.
    pub fn outside_validity(&self) -> Option<Denied> {
        self.outside_validity
    }

    /// Set when the address does not fit the certificate and [`BindPeer::Warn`] admitted it all the
    /// same.
    pub fn misplaced(&self) -> Option<Denied> {
        self.misplaced
    }

    /// Set when [`Mode::Enforce`] would have refused the peer, with its reason.
    pub fn audited(&self) -> Option<Denied> {
        self.audited
    }
}

/// Why a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// The certificate's digest is not in the candidate map.
    #[error("the certificate's digest is not in the candidate map")]
    UnknownDigest,
    /// The digest is in the map, but another certificate is known by it.
    #[error("another certificate is known by this digest: a SHA-1 collision")]
    DigestCollision,
    /// Bootstrap phase, and the certificate is not that of `server.pem`.
    #[error("there is no candidate map yet, and the certificate is not that of server.pem")]
    BootstrapRefused,
    /// Nobody is admitted at present.
    #[error("{0}")]
    Nobody(Nobody),
    /// Past its validity, with `reject_expired`.
    #[error("the certificate has expired")]
    Expired,
    /// Before its validity, with `reject_expired`.
    #[error("the certificate is not yet valid")]
    NotYetValid,
    /// `bind_peer`: not the address of a master candidate.
    #[error("the address is not that of a master candidate (ssconf_master_candidates_ips)")]
    AddressNotCandidate,
    /// `bind_peer`: the certificate names another node than the one with this address.
    #[error("the certificate is not that of the node with this address (ssconf_node_primary_ips)")]
    OtherNodesCertificate,
}

// The reason's name, as in the label of `noded_proxy_rejected_connections_total`.
named!(Denied {
    UnknownDigest = "unknown_digest",
    DigestCollision = "digest_collision",
    BootstrapRefused = "bootstrap_refused",
    Nobody(Nobody::NotInCluster) = "nobody_admitted",
    Expired = "expired",
    NotYetValid = "not_yet_valid",
    AddressNotCandidate = "address_not_candidate",
    OtherNodesCertificate = "other_nodes_certificate",
});

impl Denied {
    /// The reasons that have to do with `bind_peer`.
    pub const PLACES: [Self; 2] = [Self::AddressNotCandidate, Self::OtherNodesCertificate];
}

/// Admits the peer or says why not.
pub fn authorise(peer: &PeerIdentity, facts: &Facts<'_>, policy: Policy) -> Result<Permit, Denied> {
    match (policy.mode, enforce(peer, facts, policy)) {
        // Both modes refuse a forged certificate.
        (_, Err(Denied::DigestCollision)) => Err(Denied::DigestCollision),
        (Mode::Audit, Err(would)) if facts.of_the_cluster && !facts.excludes_clients => {
            Ok(Permit {
                key: "audit".into(),
                outside_validity: outside_validity(peer, facts.now),
                misplaced: None,
                audited: Some(would),
            })
        }
        (Mode::Enforce | Mode::Audit, result) => result,
    }
}

fn enforce(peer: &PeerIdentity, facts: &Facts<'_>, policy: Policy) -> Result<Permit, Denied> {
    let key = match facts.admission {
        Admission::Listed(map) => map.key_of(&peer.digest).ok_or(Denied::UnknownDigest)?,
        Admission::Bootstrap(server) if *server == peer.digest => "server.pem",
        Admission::Bootstrap(_) => return Err(Denied::BootstrapRefused),
        Admission::Nobody(why) => return Err(Denied::Nobody(*why)),
    };
    if facts.known.is_some_and(|known| known != &*peer.der) {
        return Err(Denied::DigestCollision);
    }
    let outside_validity = outside_validity(peer, facts.now);
    if let Some(why) = outside_validity.filter(|_| policy.reject_expired) {
        return Err(why);
    }
    let misplaced = match policy.bind_peer {
        BindPeer::Off => None,
        BindPeer::Warn => misplaced(peer, facts),
        BindPeer::Enforce => match misplaced(peer, facts) {
            Some(why) => return Err(why),
            None => None,
        },
    };
    Ok(Permit {
        key: key.into(),
        outside_validity,
        misplaced,
        audited: None,
    })
}

/// How the peer's address does not fit its certificate, if it does not.
fn misplaced(peer: &PeerIdentity, facts: &Facts<'_>) -> Option<Denied> {
    let cluster = Cluster {
        candidates: facts.candidate_addresses,
        nodes: facts.primary_addresses,
        name: facts.cluster,
        master_ip: facts.master_ip,
    };
    misfit(peer, cluster).map(|misfit| match misfit {
        Misfit::NotCandidate => Denied::AddressNotCandidate,
        Misfit::OtherNode => Denied::OtherNodesCertificate,
    })
}

fn outside_validity(peer: &PeerIdentity, now: i64) -> Option<Denied> {
    match () {
        () if now > peer.not_after => Some(Denied::Expired),
        () if now < peer.not_before => Some(Denied::NotYetValid),
        () => None,
    }
}

#[cfg(test)]
mod tests;
