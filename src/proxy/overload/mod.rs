//! Overload: who may hold a connection and who may shake hands while there are more callers than room.
//!
//! Nobody is admitted or refused for good here, only put in order. Callers from a candidate's address have a
//! share of both that nobody else gets (and a worker, see [`crate::proxy::workers`]); of the others, no source takes more
//! than its part of the handshakes. When all connections are taken, the one that has been unfinished for longest gives
//! way: who means it is done within milliseconds, so what a flood of silent or slow callers displaces is the flood itself.

mod handshakes;
mod ledger;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use handshakes::Handshakes;
use ledger::{Entry, Ledger};

pub use handshakes::Turn;

/// Who calls, as far as it is known before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A master candidate's address, by `ssconf_master_candidates_ips`.
    Candidate(IpAddr),
    /// Any other source: an IPv4 address, or the first 64 bits of an IPv6 address. One host has all
    /// of such a network at its command.
    Other(IpAddr),
}

impl Caller {
    /// The caller at this address.
    pub fn new(address: IpAddr, candidate: bool) -> Self {
        match address.to_canonical() {
            known if candidate => Self::Candidate(known),
            IpAddr::V6(v6) => Self::Other(IpAddr::V6((v6.to_bits() >> 64 << 64).into())),
            v4 => Self::Other(v4),
        }
    }

    fn is_candidate(self) -> bool {
        matches!(self, Self::Candidate(_))
    }
}

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// Handshakes at a time.
    pub handshakes: usize,
    /// Handshakes at a time for each source.
    pub handshakes_per_source: usize,
    /// Of connections and handshakes, how many are kept for candidates' addresses.
    pub reserved: usize,
}

/// The books on all open connections and running handshakes.
#[derive(Debug)]
pub struct Overload {
    ledger: Mutex<Ledger<CancellationToken>>,
    handshakes: Arc<Handshakes>,
}

impl Overload {
    /// Empty books.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            ledger: Mutex::new(Ledger::new(bounds.connections, bounds.reserved)),
            handshakes: Handshakes::new(
                bounds.handshakes,
                bounds.reserved,
                bounds.handshakes_per_source,
            ),
        })
    }

    /// A place for a new connection, or none when all are taken by admitted clients.
    pub fn enter(self: &Arc<Self>, caller: Caller) -> Option<Place> {
        let evicted = CancellationToken::new();
        let entry = self.ledger().enter(caller.is_candidate(), evicted.clone());
        let id = match entry {
            Entry::Room(id) => id,
            Entry::InsteadOf(id, other) => {
                other.cancel();
                id
            }
            Entry::Full => return None,
        };
        Some(Place {
            overload: Arc::clone(self),
            caller,
            id,
            evicted,
        })
    }

    /// Closes the connection that has been unfinished for longest; `false` if there is none.
    pub fn shed(&self) -> bool {
        let oldest = self.ledger().shed();
        oldest.inspect(CancellationToken::cancel).is_some()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<CancellationToken>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    overload: Arc<Overload>,
    caller: Caller,
    id: u64,
    evicted: CancellationToken,
}

impl Place {
    /// Returns when the connection must give way to another one; never once it is settled.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The client is admitted: it keeps its place. `false` if it had to give way just before.
    pub fn settle(&self) -> bool {
        self.overload.ledger().settle(self.id)
    }

    /// Whether the call comes from a master candidate's address.
    pub fn is_candidate(&self) -> bool {
        self.caller.is_candidate()
    }

    /// Waits for a turn to shake hands, first come first served within the caller's source.
    pub async fn turn(&self) -> Turn {
        Handshakes::turn(&self.overload.handshakes, self.caller).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.overload.ledger().leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_by_address_or_network() {
        let caller = |text: &str, candidate| Caller::new(text.parse().unwrap(), candidate);
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:0:8000::1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ];
        for (one, two, same) in table {
            assert_eq!(
                caller(one, false) == caller(two, false),
                same,
                "{one} {two}"
            );
        }
        // A candidate shares nothing with the strangers in its network.
        assert_ne!(caller("2001:db8::1", true), caller("2001:db8::1", false));
        assert_ne!(caller("2001:db8::1", true), caller("2001:db8::2", true));
    }

    #[tokio::test]
    async fn whoever_gives_way_is_told_and_a_dropped_place_is_free() {
        let overload = Overload::new(Bounds {
            connections: 2,
            handshakes: 2,
            handshakes_per_source: 2,
            reserved: 0,
        });
        let caller = Caller::new([192, 0, 2, 1].into(), false);
        let first = overload.enter(caller).unwrap();
        let second = overload.enter(caller).unwrap();
        assert!(second.settle());
        let third = overload.enter(caller).unwrap();
        first.evicted().await;
        assert!(!first.settle());
        drop(first); // gave its place away already, so this frees none
        assert!(third.settle());
        assert!(overload.enter(caller).is_none());
        drop(third);
        assert!(overload.enter(caller).is_some());
    }
}
