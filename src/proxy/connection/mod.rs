//! One connection's life, from the accept to the last byte: read this file first.
//!
//! [`begin`] gives it a place and a worker. There `serve` tells the rest: is it a ping or a client?
//! Does the handshake end in time? Is the peer admitted? Then its requests are served, and [`rpc`]
//! asks for each of them whether the peer is still admitted. When the peer leaves the candidate
//! map, or when the proxy drains, the request that runs is finished and the connection is closed.
//!
//! This room admits nobody by itself (`rules` decides) and looks into no request ([`rpc`] does).

mod notes;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};

use crate::proxy::http::{Gate, Lease, MAX_FIELDS, MOST_READ};
use crate::proxy::metrics::{Outcome, Terminated};
use crate::proxy::overload::{Caller, Place};
use crate::proxy::reason::Reason;
use crate::proxy::rpc;
use crate::proxy::shared::Shared;
use crate::proxy::workers::Workers;
use crate::tls::{self, Accepted, Acceptor, Buffered};
use notes::{GaugeGuard, gave_way, handshake_failed, no_request, note_oddities, refuse};
use rules::Named;
use rules::admission::{Admission, Nobody};
use rules::authz::{Denied, Permit};
use rules::identity::PeerIdentity;

/// Why a connection without a finished handshake is closed for another one.
const TOO_MANY: &str = "too many connections: an unfinished one is closed";
/// A client that takes nothing of its reply for so long is given up. noded itself waits for 10 s.
const UNREAD: Duration = Duration::from_secs(30);
/// Longest wait for a client to take the goodbye of TLS on an unused connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// Gives an accepted connection a place and a worker, where `serve` goes on. Without a place it
/// is closed at once.
pub fn begin(shared: &Arc<Shared>, workers: &Workers, tcp: TcpStream, address: SocketAddr) {
    let snapshot = shared.store.current();
    let is_candidate = snapshot.is_address_of_candidate(address.ip());
    // For the worker alone: bounds and the reserve take a caller that is not listed as another.
    let may_be_candidate = snapshot.may_be_candidate(address.ip())
        || shared
            .callers
            .is_of_one_still_admitted(address.ip(), |peer| {
                let permit = shared.store.authorise(peer);
                permit.is_ok_and(|permit| permit.audited().is_none())
            });
    drop(snapshot);
    let caller = Caller::new(address.ip(), is_candidate);
    let Some(place) = shared.overload.enter(caller) else {
        debug!(peer = %address, "over the limit of connections");
        shared.metrics.reject(Reason::OverLimit);
        return;
    };
    let serving = Arc::clone(shared);
    let serve = move |tcp| serve(serving, tcp, address, place);
    workers.serve(&shared.tasks, may_be_candidate, tcp, serve);
}

/// Serves one client connection to its end, on its worker.
async fn serve(shared: Arc<Shared>, tcp: TcpStream, address: SocketAddr, place: Place) {
    // Boxed so that handshake state does not stay in the task for the connection's life.
    let admitted = Box::pin(handshake_and_admit(&shared, tcp, address, &place)).await;
    if let Some((accepted, permit, _share)) = admitted {
        accepted.stream.get_ref().give_up_after(UNREAD);
        let _open = GaugeGuard::on(&shared.metrics.open);
        serve_requests(&shared, accepted, address, permit).await;
    }
}

/// All that comes before the first request. `None` if the peer is not admitted; that was counted
/// and logged.
async fn handshake_and_admit(
    shared: &Shared,
    tcp: TcpStream,
    address: SocketAddr,
    place: &Place,
) -> Option<(Accepted, Permit, Lease)> {
    let Some(tls) = shared.store.current().tls.clone() else {
        // systemd holds the port, so callers come although there is no server.pem in force.
        let (reason, why) = match shared.store.current().admission {
            Admission::Nobody(why @ Nobody::NoIdentity) => {
                (Reason::Denied(Denied::Nobody(why)), why.to_string())
            }
            _ => (Reason::NotInCluster, "this node is in no cluster".into()),
        };
        refuse(shared, address, None, reason, &why);
        return None;
    };
    let shaking = GaugeGuard::on(&shared.metrics.handshakes);
    let accepted = tokio::select! {
        accepted = shake_hands(shared, tcp, address, &tls.acceptor, place) => accepted,
        () = place.evicted() => {
            gave_way(shared, address, TOO_MANY);
            None
        }
    };
    drop(shaking);
    let mut accepted = accepted?;
    let permit = admit(shared, &accepted, address)?;
    if !place.settle() {
        gave_way(shared, address, TOO_MANY);
        return None;
    }
    let Some(share) = shared.connections.try_take(accepted.peer.digest, 1) else {
        let why = "this candidate has as many connections as it leaves free for others";
        refuse(
            shared,
            address,
            Some(&accepted.peer),
            Reason::OverLimit,
            why,
        );
        return None;
    };
    // One copy of a candidate's certificate for all of its connections.
    if let Some(known) = shared.store.current().known.get(&accepted.peer.digest) {
        accepted.peer.share(&known.info.der);
    }
    Some((accepted, permit, share))
}

/// The TLS handshake, within its deadline. A failure was counted and logged.
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
    let late = |why| refuse(shared, address, None, Reason::HandshakeTimeout, why);
    let mut tcp = Buffered::new(tcp);
    match timeout_at(deadline, tcp.first_message()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false) | Err(_)) => {
            // Ganeti's "TCP ping": it connects and closes, many times a day. Not an error.
            debug!(peer = %address, "closed without a byte");
            metrics.pings.inc();
            metrics.connections.of(Outcome::Ping).inc();
            return None;
        }
        Err(_) => {
            late("no message in time");
            return None;
        }
    }
    let Ok(turn) = timeout_at(deadline, place.turn()).await else {
        let why = "too many unfinished handshakes";
        refuse(shared, address, None, Reason::OverLimit, why);
        return None;
    };
    let gives_way = turn.gives_way();
    let handshake = acceptor.accept(tcp, address.ip(), turn);
    let handshake = tokio::select! {
        biased;
        handshake = timeout_at(deadline, handshake) => handshake,
        () = gives_way.cancelled() => {
            gave_way(shared, address, "too many handshakes: a stalled one is cut");
            return None;
        }
    };
    match handshake {
        Ok(Ok(accepted)) => {
            metrics
                .handshake_duration
                .observe(start.elapsed().as_secs_f64());
            Some(accepted)
        }
        Ok(Err(error)) => {
            handshake_failed(shared, address, error);
            None
        }
        Err(_) => {
            late("handshake not done in time");
            None
        }
    }
}

/// The decision that counts. The handshake has proved the identity, and the map is that of this
/// moment. (A refusal during the handshake only gives the client a fitting alert.)
fn admit(shared: &Shared, accepted: &Accepted, address: SocketAddr) -> Option<Permit> {
    let peer = &accepted.peer;
    match shared.store.authorise(peer) {
        Ok(permit) => {
            let metrics = &shared.metrics;
            metrics.tls_versions.of(accepted.version).inc();
            metrics.peer_not_after.set(peer.not_after as f64);
            note_oddities(shared, peer, address, &permit);
            let snapshot = shared.store.current();
            if !snapshot.may_be_candidate(address.ip()) && permit.audited().is_none() {
                shared.callers.saw(peer);
            }
            shared.reloads.learn(peer, &snapshot);
            Some(permit)
        }
        Err(denied) => {
            refuse(
                shared,
                address,
                Some(peer),
                Reason::Denied(denied),
                &denied.to_string(),
            );
            None
        }
    }
}

/// Serves the requests of an admitted peer until the peer, the map or the drain ends the
/// connection.
async fn serve_requests(
    shared: &Arc<Shared>,
    mut accepted: Accepted,
    address: SocketAddr,
    first: Permit,
) {
    drop(first); // each request asks again
    let mut changes = shared.store.subscribe();
    changes.mark_changed(); // the map may have changed since the decision: look once
    let speaks = await_request(shared, &mut accepted, address, &mut changes).await;
    let outcome = match speaks {
        true => Outcome::Admitted,
        false => Outcome::NoRequest,
    };
    shared.metrics.connections.of(outcome).inc();
    if speaks {
        // Boxed so that a connection without a request does not pay for the state of a parser.
        Box::pin(serve_http(shared, accepted, address, changes)).await;
    } else {
        // The goodbye of TLS, which hyper would have sent.
        let _ = timeout(GOODBYE, accepted.stream.shutdown()).await;
    }
}

/// Waits for the first byte of the first request: `false` if the connection must be closed instead.
/// Until then there is no parser, so that an idle connection has none of its buffers.
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
            speaks = speaks.as_mut() => {
                let silent = |_| Err("no byte of a request in time".into());
                let speaks: Result<(), String> = speaks.unwrap_or_else(silent);
                return match speaks {
                    Ok(()) => true,
                    Err(why) => {
                        no_request(shared, address, peer, &why);
                        false
                    }
                };
            }
            changed = changes.changed() => {
                if changed.is_err() || !still_admitted(shared, peer, address) {
                    return false;
                }
            }
            () = shared.stopped.cancelled() => return false,
        }
    }
}

/// Serves requests with hyper, which calls [`rpc::answer`] for each; the first one has begun.
async fn serve_http(
    shared: &Arc<Shared>,
    accepted: Accepted,
    address: SocketAddr,
    mut changes: watch::Receiver<u64>,
) {
    let client = Arc::new(rpc::Client {
        address,
        peer: accepted.peer,
    });
    let (gate, arrivals) = Gate::new(accepted.stream, shared.settings.header_timeout);
    let service = {
        let (shared, client) = (Arc::clone(shared), Arc::clone(&client));
        service_fn(move |request| {
            let arrival = arrivals.next();
            // Boxed because hyper keeps the room for it as long as the connection is open.
            Box::pin(rpc::answer(
                Arc::clone(&shared),
                Arc::clone(&client),
                arrival,
                request,
            ))
        })
    };
    let mut connection = Box::pin(parser().serve_connection(TokioIo::new(gate), service));
    let mut closing = false;
    loop {
        tokio::select! {
            biased; // the first request has begun: hyper must see it before it may shut down
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

/// Asks again after the map has changed.
fn still_admitted(shared: &Shared, peer: &PeerIdentity, address: SocketAddr) -> bool {
    let Err(denied) = shared.store.authorise(peer) else {
        return true;
    };
    let terminated = &shared.metrics.terminated;
    terminated.of(denied, Terminated::Connection).inc();
    info!(peer = %address, cn = peer.name(), digest = %peer.digest, reason = denied.name(),
        "no longer admitted: closing its connection");
    false
}

/// hyper as it parses client bytes, with the bounds on a request's head; also for the fuzz target.
/// The time for a head is the gate's to keep.
pub fn parser() -> http1::Builder {
    let mut parser = http1::Builder::new();
    parser
        .header_read_timeout(None)
        .max_buf_size(MOST_READ)
        .max_headers(MAX_FIELDS);
    parser
}
