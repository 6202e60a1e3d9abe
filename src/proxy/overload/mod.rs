//! Overload: who may hold a connection, and who may shake hands, when there are more callers than
//! room.
//!
//! It never admits anybody and never refuses anybody for good; it only decides who comes first.
//! Some connections and some handshakes are reserved for callers from candidates' addresses (and a
//! worker, see [`crate::proxy::workers`]). No other source gets more than its share of the
//! handshakes; over it, a stalled handshake of the same source gives way. When all places are taken,
//! a connection without a finished handshake is closed: the oldest of the source that has the most.
//! So a flood evicts only itself.

mod caller;
mod callers;
mod crowd;
mod handshakes;
mod holders;
mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use handshakes::Handshakes;
use ledger::{Entry, Ledger};

pub use caller::Caller;
pub use callers::Callers;
pub use handshakes::Turn;

/// How much there is to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// Handshakes at a time.
    pub handshakes: usize,
    /// Handshakes at a time for each source.
    pub handshakes_per_source: usize,
    /// How many connections, and how many handshakes, are reserved for candidates' addresses.
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

    /// A place for a new connection; none if admitted clients have them all.
    pub fn enter(self: &Arc<Self>, caller: Caller) -> Option<Place> {
        let evicted = CancellationToken::new();
        let entry = self.ledger().enter(caller, evicted.clone());
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

    /// Closes a connection without a finished handshake; `false` if there is none.
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
    /// Returns when the connection must give way to another one. Never returns once it is settled.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The client is admitted and keeps its place. `false` if it had to give way just before.
    pub fn settle(&self) -> bool {
        self.overload.ledger().settle(self.id)
    }

    /// Waits for a turn to shake hands. Callers from one source are served in their order, and a
    /// stalled handshake gives way to them.
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
