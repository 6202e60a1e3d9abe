//! What is counted, remembered and logged about a connection. Nothing is decided here.

use std::net::SocketAddr;

use tracing::{debug, error, info, warn};

use crate::metrics::Gauge;
use crate::proxy::reason::{Cause, Reason};
use crate::proxy::shared::Shared;
use crate::tls::HandshakeError;
use rules::Named;
use rules::authz::{Denied, Permit};
use rules::identity::PeerIdentity;

/// Increments a gauge; decrements it on drop, also on panic.
pub(super) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(super) fn on(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts, remembers and logs a refused connection.
pub(super) fn refuse(
    shared: &Shared,
    address: SocketAddr,
    peer: Option<&PeerIdentity>,
    cause: Reason,
    why: &str,
) {
    let reason = cause.name();
    shared.metrics.reject(cause);
    let may_log = shared.refusals.add(address, cause.into(), why, peer);
    match peer {
        _ if !may_log => {} // counted, and told together with others like it
        Some(peer) if cause == Reason::Denied(Denied::DigestCollision) => {
            error!(peer = %address, cn = peer.name(), digest = %peer.digest, reason, why,
                "refused");
        }
        Some(peer) => {
            info!(peer = %address, cn = peer.name(), digest = %peer.digest, reason, why,
                "refused");
        }
        None => info!(peer = %address, reason, why, "refused"),
    }
}

/// An admitted peer has left without a request. Ganeti's clients never do, unless they do not accept
/// the certificate that they were shown.
pub(super) fn no_request(shared: &Shared, address: SocketAddr, peer: &PeerIdentity, why: &str) {
    if shared
        .refusals
        .add(address, Cause::NoRequest, why, Some(peer))
    {
        info!(peer = %address, cn = peer.name(), digest = %peer.digest, why,
            "admitted, and left without a request");
    }
}

/// This connection gives way to another one: its handshake is the oldest, or has stalled. A flood
/// would fill the log with these lines, so only the counter shows them.
pub(super) fn gave_way(shared: &Shared, address: SocketAddr, why: &str) {
    debug!(peer = %address, why, "gave way");
    shared.metrics.reject(Reason::OverLimit);
}

/// Counts and logs a handshake that failed; remembers it if the client was refused.
pub(super) fn handshake_failed(shared: &Shared, address: SocketAddr, error: HandshakeError) {
    match error {
        HandshakeError::Refused(peer) => {
            let denied = shared.store.authorise(&peer).err();
            let reason = Reason::Denied(denied.unwrap_or(Denied::UnknownDigest));
            let why =
                denied.map_or_else(|| "just left the map".into(), |denied| denied.to_string());
            refuse(shared, address, Some(&peer), reason, &why);
        }
        HandshakeError::NoCertificate => {
            let snapshot = shared.store.current();
            match snapshot.kept_back(address.ip()) {
                Some(kind) => {
                    let why = format!(
                        "no client certificate; the known one of this node has a key that the TLS \
                         library does not take ({})",
                        kind.name()
                    );
                    refuse(shared, address, None, Reason::UnusableCertificate, &why);
                }
                None => {
                    let why = "no client certificate";
                    refuse(shared, address, None, Reason::NoCertificate, why);
                }
            }
        }
        HandshakeError::Malformed(why, peer) => {
            let reason = Reason::MalformedCertificate;
            refuse(shared, address, peer.as_deref(), reason, &why);
        }
        HandshakeError::Unusable(why, peer) => {
            let reason = Reason::UnusableCertificate;
            refuse(shared, address, peer.as_deref(), reason, &why);
        }
        HandshakeError::PeerClosed(why) => {
            debug!(peer = %address, why, "went away in the handshake");
            shared.metrics.reject(Reason::PeerClosed);
        }
        HandshakeError::Protocol(why) => {
            refuse(shared, address, None, Reason::ProtocolError, &why);
        }
    }
}

/// Counts and logs what is odd about an admitted peer.
pub(super) fn note_oddities(
    shared: &Shared,
    peer: &PeerIdentity,
    address: SocketAddr,
    permit: &Permit,
) {
    let metrics = &shared.metrics;
    if let Some(why) = permit.outside_validity() {
        metrics.outside_validity.inc();
        let todo = match why {
            Denied::NotYetValid => "set the clocks of both nodes",
            _ => "renew it with gnt-cluster renew-crypto --new-node-certificates",
        };
        warn!(peer = %address, cn = peer.name(), digest = %peer.digest, %why,
            "admitted all the same; {todo}");
    }
    if let Some(why) = permit.misplaced() {
        metrics.misplaced.of(why).inc();
        warn!(peer = %address, cn = peer.name(), digest = %peer.digest, reason = why.name(), %why,
            "admitted all the same (bind_peer = warn)");
    }
    if let Some(why) = permit.audited() {
        metrics.audited.of(why).inc();
        if shared.refusals.add_audited(address, why, peer) {
            warn!(peer = %address, cn = peer.name(), digest = %peer.digest, reason = why.name(),
                %why, "admitted in audit mode; enforce would refuse it");
        }
    }
    let snapshot = shared.store.current();
    if snapshot.is_of_server_pem(peer) {
        return; // every node has this certificate, and in the bootstrap phase the master uses it
    }
    let node = snapshot.node_at(peer.address);
    if let Some(nodes) = shared.store.sightings().saw(peer, node) {
        metrics.used_by_another_node.inc();
        let nodes: Vec<&str> = nodes.iter().map(|node| &**node).collect();
        error!(peer = %address, cn = peer.name(), digest = %peer.digest, nodes = nodes.join(", "),
            "certificate used by another node");
    }
}
