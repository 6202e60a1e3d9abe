//! One connection's life, from the first byte to the last: read this file first.
//!
//! Ping or client? Handshake, within its time. Authorised? Serve its requests, asking again for each. When the
//! candidate map changes and the peer is no longer in it, or when the proxy drains, finish what runs and close.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use crate::metrics::reason;
use crate::proxy::overload::Place;
use crate::proxy::rpc;
use crate::proxy::shared::Shared;
use crate::tls::{self, Accepted, Acceptor, Buffered, HandshakeError};
use rules::authz::{Denied, Permit};
use rules::identity::PeerIdentity;

/// hyper's buffer for a request's head; Ganeti's heads have 200 bytes.
const HEAD_BUFFER: usize = 16 << 10;
/// Time for a client to take the end of an unused connection.
const GOODBYE: Duration = Duration::from_secs(1);
/// Headers of a request; Ganeti's clients send five.
const MAX_HEADERS: usize = 64;

/// Serves one client connection, from the accept to the end.
pub async fn serve(shared: Arc<Shared>, tcp: TcpStream, address: SocketAddr, place: Place) {
    // Boxed, for nobody needs its room any more when it is done.
    let entered = Box::pin(enter(&shared, tcp, address, &place)).await;
    if let Some((accepted, permit)) = entered {
        let _open = Counted::among(&shared.metrics.open);
        talk(&shared, accepted, address, permit).await;
    }
}

/// One in a gauge, as long as it lives; a panic takes it out, too.
struct Counted(IntGauge);

impl Counted {
    fn among(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All that comes before the first request. Who is not admitted was counted and logged.
async fn enter(
    shared: &Shared,
    tcp: TcpStream,
    address: SocketAddr,
    place: &Place,
) -> Option<(Accepted, Permit)> {
    let Some(tls) = shared.store.current().tls.clone() else {
        // The service manager holds the port, and this node is in no cluster.
        let why = "this node is in no cluster";
        refuse(shared, address, None, reason::NOT_IN_CLUSTER, why);
        return None;
    };
    let shaking = Counted::among(&shared.metrics.handshakes);
    let accepted = tokio::select! {
        accepted = shake_hands(shared, tcp, address, &tls.acceptor, place) => accepted,
        () = place.evicted() => {
            gave_way(shared, address);
            None
        }
    };
    drop(shaking);
    let mut accepted = accepted?;
    let permit = admit(shared, &accepted, address)?;
    if !place.settle() {
        gave_way(shared, address);
        return None;
    }
    // One copy of a candidate's certificate for all of its connections.
    if let Some(known) = shared.store.current().known.get(&accepted.peer.digest) {
        accepted.peer.share(&known.info.der);
    }
    Some((accepted, permit))
}

/// The TLS handshake within its deadline. What fails is counted and logged here.
async fn shake_hands(
    shared: &Shared,
    tcp: TcpStream,
    address: SocketAddr,
    acceptor: &Acceptor,
    place: &Place,
) -> Option<Accepted> {
    let start = Instant::now();
    let deadline = start + shared.settings.handshake_timeout;
    let metrics = &shared.metrics;
    let late = |why| refuse(shared, address, None, reason::HANDSHAKE_TIMEOUT, why);
    let mut tcp = Buffered::new(tcp);
    match timeout_at(deadline, tcp.first_byte()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false) | Err(_)) => {
            // Ganeti's "tcp ping": connect and close, many times a day. Never an error.
            debug!(peer = %address, "closed without a byte");
            metrics.pings.inc();
            metrics.connections.with_label_values(&["ping"]).inc();
            return None;
        }
        Err(_) => {
            late("no byte in time");
            return None;
        }
    }
    let Ok(turn) = timeout_at(deadline, place.turn()).await else {
        let why = "too many unfinished handshakes";
        refuse(shared, address, None, reason::OVER_LIMIT, why);
        return None;
    };
    let handshake = acceptor.accept(tcp, address.ip(), turn);
    match timeout_at(deadline, handshake).await {
        Ok(Ok(accepted)) => {
            metrics
                .handshake_duration
                .observe(start.elapsed().as_secs_f64());
            Some(accepted)
        }
        Ok(Err(error)) => {
            failed(shared, address, error);
            None
        }
        Err(_) => {
            late("handshake not done in time");
            None
        }
    }
}

/// All places are taken, and this connection has been unfinished for longest. A flood would fill the log
/// with these, so only the metric tells.
fn gave_way(shared: &Shared, address: SocketAddr) {
    debug!(peer = %address, "too many connections, and this one was unfinished for longest");
    shared.metrics.reject(reason::OVER_LIMIT);
}

fn failed(shared: &Shared, address: SocketAddr, error: HandshakeError) {
    match error {
        HandshakeError::Refused(peer) => {
            let denied = shared.store.authorise(&peer).err();
            let name = denied.map_or("unknown_digest", |denied| denied.reason());
            let why =
                denied.map_or_else(|| "just left the map".into(), |denied| denied.to_string());
            refuse(shared, address, Some(&peer), name, &why);
        }
        HandshakeError::NoCertificate => {
            refuse(
                shared,
                address,
                None,
                reason::NO_CERTIFICATE,
                "no client certificate",
            );
        }
        HandshakeError::PeerClosed(why) => {
            debug!(peer = %address, why, "went away in the handshake");
            shared.metrics.reject(reason::PEER_CLOSED);
        }
        HandshakeError::Protocol(why) => {
            refuse(shared, address, None, reason::PROTOCOL_ERROR, &why);
        }
    }
}

/// The decision that counts: on the identity that the handshake proved, with the map of this moment.
fn admit(shared: &Shared, accepted: &Accepted, address: SocketAddr) -> Option<Permit> {
    let peer = &accepted.peer;
    match shared.store.authorise(peer) {
        Ok(permit) => {
            let metrics = &shared.metrics;
            metrics.connections.with_label_values(&["admitted"]).inc();
            metrics
                .tls_versions
                .with_label_values(&[accepted.version])
                .inc();
            metrics
                .not_after
                .with_label_values(&["last_admitted_peer"])
                .set(peer.not_after as f64);
            remark(shared, peer, address, &permit);
            shared.reloads.learn(peer, &shared.store.current());
            Some(permit)
        }
        Err(denied) => {
            refuse(
                shared,
                address,
                Some(peer),
                denied.reason(),
                &denied.to_string(),
            );
            None
        }
    }
}

/// Counts and logs what is odd about an admitted peer.
fn remark(shared: &Shared, peer: &PeerIdentity, address: SocketAddr, permit: &Permit) {
    let metrics = &shared.metrics;
    if let Some(why) = permit.outside_validity() {
        metrics.outside_validity.inc();
        warn!(peer = %address, cn = peer.name(), digest = %peer.digest, %why,
            "admitted all the same; renew it with gnt-cluster renew-crypto");
    }
    if let Some(why) = permit.misplaced() {
        metrics.misplaced.with_label_values(&[why.reason()]).inc();
        warn!(peer = %address, cn = peer.name(), digest = %peer.digest, reason = why.reason(), %why,
            "admitted all the same (bind_peer = warn)");
    }
    if let Some(why) = permit.audited() {
        metrics.audited.with_label_values(&[why.reason()]).inc();
        shared.refusals.add_audited(address, why.reason(), peer);
        warn!(peer = %address, cn = peer.name(), digest = %peer.digest, reason = why.reason(), %why,
            "admitted in audit mode; enforce would refuse it");
    }
    let snapshot = shared.store.current();
    if snapshot.is_of_server_pem(peer) {
        return; // every node holds it, and in the bootstrap phase the master uses it
    }
    let node = snapshot.node_at(peer.address);
    if let Some(nodes) = shared.sightings.saw(peer, node) {
        metrics.used_by_another_node.inc();
        let nodes: Vec<&str> = nodes.iter().map(|node| &**node).collect();
        error!(peer = %address, cn = peer.name(), digest = %peer.digest, nodes = nodes.join(", "),
            "certificate used by another node");
    }
}

/// Counts, remembers and logs a refused connection.
fn refuse(
    shared: &Shared,
    address: SocketAddr,
    peer: Option<&PeerIdentity>,
    reason: &'static str,
    why: &str,
) {
    shared.metrics.reject(reason);
    shared.refusals.add(address, reason, peer);
    match peer {
        Some(peer) if reason == Denied::DigestCollision.reason() => {
            error!(peer = %address, cn = peer.name(), digest = %peer.digest, reason, why, "refused");
        }
        Some(peer) => {
            info!(peer = %address, cn = peer.name(), digest = %peer.digest, reason, why, "refused");
        }
        None => info!(peer = %address, reason, why, "refused"),
    }
}

/// hyper as it parses client bytes, with the bounds on a request's head. The fuzz target uses it too.
pub fn parser(header_timeout: Duration) -> http1::Builder {
    let mut parser = http1::Builder::new();
    parser
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BUFFER)
        .max_headers(MAX_HEADERS);
    parser
}

/// Serves the requests of an admitted peer until it, the map or the drain ends the connection.
async fn talk(shared: &Arc<Shared>, mut accepted: Accepted, address: SocketAddr, first: Permit) {
    drop(first); // each request asks anew
    let mut changes = shared.store.subscribe();
    changes.mark_changed(); // the map may have changed since the decision: look once
    if await_request(shared, &mut accepted, address, &mut changes).await {
        // Boxed, for idle connections have no use for its room.
        Box::pin(converse(shared, accepted, address, changes)).await;
    } else {
        // hyper would have said goodbye, too.
        let _ = timeout(GOODBYE, accepted.stream.shutdown()).await;
    }
}

/// Serves requests; the first one has begun.
async fn converse(
    shared: &Arc<Shared>,
    accepted: Accepted,
    address: SocketAddr,
    mut changes: watch::Receiver<u64>,
) {
    let client = Arc::new(rpc::Client {
        address,
        peer: accepted.peer,
    });
    let service = {
        let (shared, client) = (Arc::clone(shared), Arc::clone(&client));
        service_fn(move |request| rpc::answer(Arc::clone(&shared), Arc::clone(&client), request))
    };
    let connection = parser(shared.settings.header_timeout)
        .serve_connection(TokioIo::new(accepted.stream), service);
    let mut connection = Box::pin(connection);
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(peer = %address, %error, "connection ended");
                }
                return;
            }
            changed = changes.changed(), if !closing => {
                if changed.is_ok() && still_admitted(shared, &client.peer, address) {
                    continue;
                }
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
            () = shared.drain.cancelled(), if !closing => {
                connection.as_mut().graceful_shutdown();
                closing = true;
            }
        }
    }
}

/// Waits for the first byte of the first request, before which there is no parser and none of its buffers:
/// `false` if the connection is to be closed instead.
async fn await_request(
    shared: &Shared,
    accepted: &mut Accepted,
    address: SocketAddr,
    changes: &mut watch::Receiver<u64>,
) -> bool {
    let Accepted { stream, peer, .. } = accepted;
    let mut speaks = pin!(timeout(shared.settings.header_timeout, tls::speaks(stream)));
    loop {
        tokio::select! {
            speaks = speaks.as_mut() => return speaks == Ok(true),
            changed = changes.changed() => {
                if changed.is_err() || !still_admitted(shared, peer, address) {
                    return false;
                }
            }
            () = shared.drain.cancelled() => return false,
        }
    }
}

/// Asks again, after the map has changed.
fn still_admitted(shared: &Shared, peer: &PeerIdentity, address: SocketAddr) -> bool {
    let admitted = shared.store.authorise(peer).is_ok();
    if !admitted {
        info!(peer = %address, cn = peer.name(), digest = %peer.digest,
            "no longer admitted: closing its connection");
    }
    admitted
}
