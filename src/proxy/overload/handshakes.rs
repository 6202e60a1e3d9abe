//! Turns for handshakes: a bound on all, a bound for each source, and a reserve for candidates'
//! addresses.
//!
//! A caller that finds no turn waits for one. Nothing here ends the wait: the deadline of the
//! handshake does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::caller::Caller;

#[derive(Debug)]
pub(super) struct Handshakes {
    /// Turns for everybody.
    common: Arc<Semaphore>,
    /// Turns for candidates' addresses.
    reserve: Arc<Semaphore>,
    per_source: usize,
    /// Turns of each source that has one or waits for one.
    sources: Mutex<HashMap<Caller, Arc<Semaphore>>>,
}

/// The turn to shake hands, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    // Dropped in this order: the permits first, so that the entry finds itself unused.
    _in_all: Option<OwnedSemaphorePermit>,
    _of_source: Option<OwnedSemaphorePermit>,
    _entry: SourceEntry,
}

impl Handshakes {
    pub(super) fn new(most: usize, reserved: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            common: Arc::new(Semaphore::new(most.saturating_sub(reserved))),
            reserve: Arc::new(Semaphore::new(reserved)),
            per_source,
            sources: Mutex::default(),
        })
    }

    pub(super) async fn turn(this: &Arc<Self>, caller: Caller) -> Turn {
        let entry = SourceEntry::of(Arc::clone(this), caller);
        // The semaphores are never closed, so no acquire fails.
        let of_source = match entry.turns.clone() {
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        let common = Arc::clone(&this.common).acquire_owned();
        let in_all = if caller.is_candidate() {
            tokio::select! {
                biased;
                turn = common => turn,
                turn = Arc::clone(&this.reserve).acquire_owned() => turn,
            }
        } else {
            common.await
        };
        Turn {
            _in_all: in_all.ok(),
            _of_source: of_source,
            _entry: entry,
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Caller, Arc<Semaphore>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source's entry in the map, in use.
#[derive(Debug)]
struct SourceEntry {
    handshakes: Arc<Handshakes>,
    caller: Caller,
    turns: Option<Arc<Semaphore>>,
}

impl SourceEntry {
    fn of(handshakes: Arc<Handshakes>, caller: Caller) -> Self {
        let new = || Arc::new(Semaphore::new(handshakes.per_source));
        let turns = Arc::clone(handshakes.sources().entry(caller).or_insert_with(new));
        Self {
            handshakes,
            caller,
            turns: Some(turns),
        }
    }
}

impl Drop for SourceEntry {
    fn drop(&mut self) {
        let mut sources = self.handshakes.sources();
        drop(self.turns.take());
        // Only the map's own handle is left, and under the lock nobody takes another.
        if sources.get(&self.caller).map(Arc::strong_count) == Some(1) {
            sources.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(last: u8, candidate: bool) -> Caller {
        Caller::new([192, 0, 2, last].into(), candidate)
    }

    /// A turn, if one is free.
    async fn turn_now(handshakes: &Arc<Handshakes>, caller: Caller) -> Option<Turn> {
        tokio::select! {
            biased;
            turn = Handshakes::turn(handshakes, caller) => Some(turn),
            () = tokio::task::yield_now() => None,
        }
    }

    #[tokio::test]
    async fn no_source_takes_more_than_its_part_and_other_addresses_leave_the_reserve() {
        let handshakes = Handshakes::new(6, 2, 3);
        let mut held = Vec::new();
        for (last, candidate, expected) in [
            (1, false, true),
            (1, false, true),
            (1, false, true),
            (1, false, false), // its part
            (2, false, true),
            (3, false, false), // all that is not reserved
            (9, true, true),
            (9, true, true),
            (8, true, false), // all of them
        ] {
            let turn = turn_now(&handshakes, caller(last, candidate)).await;
            assert_eq!(
                turn.is_some(),
                expected,
                "{last} {candidate} {}",
                held.len()
            );
            held.extend(turn);
        }
        held.remove(0); // one of the first source's
        assert!(turn_now(&handshakes, caller(8, true)).await.is_some());
        assert!(turn_now(&handshakes, caller(1, false)).await.is_some());
    }

    #[tokio::test]
    async fn a_source_that_is_done_or_gave_up_is_forgotten() {
        let handshakes = Handshakes::new(4, 0, 1);
        let turn = turn_now(&handshakes, caller(1, false)).await;
        assert!(turn_now(&handshakes, caller(1, false)).await.is_none());
        assert_eq!(handshakes.sources().len(), 1);
        drop(turn);
        assert!(handshakes.sources().is_empty());
        assert_eq!(handshakes.common.available_permits(), 4);
    }
}
