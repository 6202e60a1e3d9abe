//! Turns for handshakes: a bound on all, a bound for each source, and a reserve for candidates'
//! addresses.
//!
//! A caller that finds no turn waits for one, in the order of arrival: until a handshake ends, or
//! until one has stalled and gives way. Nothing here ends the wait: the deadline of the handshake
//! does.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::holders::{Among, Holders, STALLED};

#[derive(Debug)]
pub(super) struct Handshakes {
    /// Turns for everybody.
    common: Arc<Semaphore>,
    /// Turns for candidates' addresses.
    reserve: Arc<Semaphore>,
    per_source: usize,
    /// Turns of each source that has one or waits for one.
    sources: Mutex<HashMap<Caller, Arc<Semaphore>>>,
    holders: Mutex<Holders<CancellationToken>>,
}

/// The turn to shake hands, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    id: u64,
    gives_way: CancellationToken,
    // Dropped in this order: the permits first, so that the entry finds itself unused.
    _in_all: Option<OwnedSemaphorePermit>,
    _of_source: Option<OwnedSemaphorePermit>,
    entry: SourceEntry,
}

impl Handshakes {
    pub(super) fn new(most: usize, reserved: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            common: Arc::new(Semaphore::new(most.saturating_sub(reserved))),
            reserve: Arc::new(Semaphore::new(reserved)),
            per_source,
            sources: Mutex::default(),
            holders: Mutex::new(Holders::new()),
        })
    }

    pub(super) async fn turn(this: &Arc<Self>, caller: Caller) -> Turn {
        let entry = SourceEntry::of(Arc::clone(this), caller);
        // The semaphores are never closed, so no acquire fails.
        let of_source = match entry.turns.clone() {
            Some(turns) => {
                let turn = turns.acquire_owned();
                this.press(Among::Source(caller), turn).await.ok()
            }
            None => None,
        };
        let in_all = this.press(Among::All(caller), this.in_all(caller)).await;
        let gives_way = CancellationToken::new();
        let mut holders = this.holders();
        let id = holders.hold(caller, Instant::now(), gives_way.clone());
        drop(holders);
        Turn {
            id,
            gives_way,
            _in_all: in_all.ok(),
            _of_source: of_source,
            entry,
        }
    }

    /// One of the turns for all; candidates' addresses have the reserve too.
    async fn in_all(&self, caller: Caller) -> Result<OwnedSemaphorePermit, AcquireError> {
        let common = Arc::clone(&self.common).acquire_owned();
        if !caller.is_candidate() {
            return common.await;
        }
        tokio::select! {
            biased;
            turn = common => turn,
            turn = Arc::clone(&self.reserve).acquire_owned() => turn,
        }
    }

    /// Waits for a permit. A handshake that has stalled by then gives way, one in a while for each
    /// caller that waits.
    async fn press<T>(&self, among: Among, permit: impl Future<Output = T>) -> T {
        let mut permit = pin!(permit);
        tokio::select! {
            biased;
            free = &mut permit => return free,
            () = std::future::ready(()) => {}
        }
        loop {
            let now = Instant::now();
            let stalled = self.holders().give_way(among, now);
            let again = match stalled {
                Ok(handshake) => {
                    handshake.cancel();
                    now + STALLED
                }
                Err(when) => when,
            };
            tokio::select! {
                biased;
                free = &mut permit => return free,
                () = sleep_until(again) => {}
            }
        }
    }

    fn holders(&self) -> MutexGuard<'_, Holders<CancellationToken>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Caller, Arc<Semaphore>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Cancelled when the handshake has stalled and must give way to a caller that waits.
    pub fn gives_way(&self) -> CancellationToken {
        self.gives_way.clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.entry.handshakes.holders().done(self.id);
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
    use tokio::task::JoinHandle;

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
        assert!(
            handshakes
                .holders()
                .give_way(Among::All(caller(1, true)), later())
                .is_err()
        );
    }

    fn later() -> Instant {
        Instant::now() + STALLED * 2
    }

    /// A caller that waits, and what it gets.
    fn waits(handshakes: &Arc<Handshakes>, caller: Caller) -> JoinHandle<Turn> {
        let handshakes = Arc::clone(handshakes);
        tokio::spawn(async move { Handshakes::turn(&handshakes, caller).await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_handshake_gives_way_to_a_caller_of_its_source() {
        let handshakes = Handshakes::new(9, 0, 2);
        let first = turn_now(&handshakes, caller(1, false)).await.unwrap();
        let second = turn_now(&handshakes, caller(1, false)).await.unwrap();
        let elsewhere = turn_now(&handshakes, caller(2, false)).await.unwrap();
        let third = waits(&handshakes, caller(1, false));
        first.gives_way().cancelled().await;
        assert!(!third.is_finished(), "the turn is not given back yet");
        drop(first);
        let third = third.await.unwrap();
        for kept in [&second, &elsewhere, &third] {
            assert!(!kept.gives_way().is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_turns_are_taken_the_source_with_the_most_gives_way() {
        let handshakes = Handshakes::new(3, 0, 2);
        let alone = turn_now(&handshakes, caller(1, false)).await.unwrap();
        let first = turn_now(&handshakes, caller(2, false)).await.unwrap();
        let _second = turn_now(&handshakes, caller(2, false)).await.unwrap();
        let newcomer = waits(&handshakes, caller(3, false));
        first.gives_way().cancelled().await;
        drop(first);
        newcomer.await.unwrap();
        assert!(!alone.gives_way().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_shakes_hands_quickly_loses_nobody() {
        let handshakes = Handshakes::new(4, 0, 2);
        let all: Vec<_> = (0..200)
            .map(|_| waits(&handshakes, caller(1, false)))
            .collect();
        for turn in all {
            let turn = turn.await.unwrap();
            tokio::time::sleep(STALLED / 40).await;
            assert!(!turn.gives_way().is_cancelled());
        }
    }
}
