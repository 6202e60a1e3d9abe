//! Whose sockets noded's may be: who listens on its port, and who holds the other end of a
//! connection to it.
//!
//! noded without TLS obeys whoever connects, and the proxy tells it the cluster's secrets. So a
//! socket of another user on noded's port is an impostor's. Pure: it is given what the kernel shows
//! of sockets, and never looks by itself.

mod stands;

use std::net::{IpAddr, SocketAddr};

pub use stands::{Stands, astray, needs_guard};

/// Whom noded may belong to: root, and the user of this process. Whoever has the proxy's user can
/// do all that the proxy can, so nothing is kept from him; stand-ins for noded in demo and tests
/// are of that user. `nobody` must never be the proxy's user, for many programs share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    /// The user of this process.
    pub own: u32,
    /// One more user.
    pub also: Option<u32>,
}

impl Trusted {
    /// Whether a socket of this user may be noded's.
    pub fn has(self, uid: u32) -> bool {
        uid == 0 || uid == self.own || Some(uid) == self.also
    }
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// The user who made it.
    pub uid: u32,
}

/// What is seen on noded's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who answers a connection to noded's address.
    pub answers: Answers,
    /// A listener of noded's that other machines reach.
    pub exposed: Option<SocketAddr>,
}

/// Who answers a connection to noded's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Somebody who may be noded.
    Noded,
    /// Nobody listens there.
    Nobody,
    /// A process of this user, who is neither root nor the proxy's.
    Impostor(u32),
    /// The address is not of this machine's loopback, and nobody here listens there: its sockets
    /// are not to be seen.
    Elsewhere,
}

/// Judges all listening sockets of the machine.
pub fn look(sockets: &[Listening], noded: SocketAddr, trusted: Trusted) -> Seen {
    let port = noded.port();
    let on_port = || sockets.iter().filter(|s| s.address.port() == port);
    let reached = reached(sockets, noded);
    let impostor = reached.iter().find(|s| !trusted.has(s.uid));
    let answers = match (impostor, reached.is_empty()) {
        (Some(impostor), _) => Answers::Impostor(impostor.uid),
        (None, false) => Answers::Noded,
        (None, true) if is_loopback(noded.ip()) => Answers::Nobody,
        (None, true) => Answers::Elsewhere,
    };
    // What another user opens on this port elsewhere is not noded, and no connection of the proxy's
    // goes there: it is no fault, or any user could raise an alarm.
    let exposed = on_port().find(|s| trusted.has(s.uid) && !is_loopback(s.address.ip()));
    Seen {
        answers,
        exposed: exposed.map(|s| s.address),
    }
}

/// Whether only root may listen where noded does, and nobody else does it already: then there is
/// no impostor to be found. `unprivileged` is the first port that anybody may take, if it is known.
pub fn only_root_listens<E>(
    seen: &Result<Seen, E>,
    noded: SocketAddr,
    unprivileged: Option<u16>,
) -> bool {
    let nobody_else = matches!(seen, Ok(seen) if !matches!(seen.answers, Answers::Impostor(_)));
    let privileged = unprivileged.is_some_and(|first| noded.port() < first);
    nobody_else && privileged && is_loopback(noded.ip())
}

/// The sockets that a connection to `noded` can come to: those of the very address, or else those
/// of all addresses. The kernel chooses in the same order.
pub fn reached(sockets: &[Listening], noded: SocketAddr) -> Vec<Listening> {
    let ip = noded.ip().to_canonical();
    let of = |wanted: &dyn Fn(IpAddr) -> bool| -> Vec<Listening> {
        let on_port = sockets.iter().filter(|s| s.address.port() == noded.port());
        let found = on_port.filter(|s| wanted(s.address.ip()));
        found.copied().collect()
    };
    let exact = of(&|at| at.to_canonical() == ip);
    match exact.is_empty() {
        false => exact,
        // [::] accepts IPv4 as well.
        true => of(&|at| at.is_unspecified() && (ip.is_ipv4() || at.is_ipv6())),
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// What the kernel shows of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The user who holds it. It means nothing while nobody holds it.
    pub uid: u32,
    /// 0 while no process holds it: nobody has accepted it yet, or its last holder has closed it.
    pub inode: u32,
}

/// Why nothing may be sent on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// A process of this user listens there, or holds the other end.
    Impostor(u32),
    /// Nobody listens there any more.
    Gone,
}

/// Whether bytes may be sent on a new connection. `listener` is the socket that listens there,
/// looked at after the connection was established. `other_end` is the connection's socket on
/// noded's side, looked at after `listener`.
///
/// The answer holds for the whole life of the connection, so a connection that was opened in
/// advance needs no second look:
///
/// - If a process holds the other end, the kernel tells its user, whatever has become of the
///   listener in the meantime.
/// - If no process holds it yet, it waits in the queue of the listener that received it. That one
///   was there before the look at `listener` and still is, for a listener that closes resets what
///   waits in its queue. Two users cannot listen on one address at the same time. So it is
///   `listener`, and nobody but its holder can accept the connection later.
/// - If its last holder has closed it, nobody reads what is sent.
pub fn may_send(
    listener: Option<Held>,
    other_end: Option<Held>,
    trusted: Trusted,
) -> Result<(), Stranger> {
    let held = |socket: Option<Held>| socket.filter(|socket| socket.inode != 0);
    let (listener, other_end) = (held(listener), held(other_end));
    let holder = other_end.or(listener).ok_or(Stranger::Gone)?;
    match trusted.has(holder.uid) {
        true => Ok(()),
        false => Err(Stranger::Impostor(holder.uid)),
    }
}

#[cfg(test)]
mod tests;
