//! Upstream slots: never more connections to noded than it accepts, and a fair queue in front of
//! them.
//!
//! noded forks a child for each connection and stops accepting beyond `--max-clients`. Some slots
//! are reserved for procedures whose client waits a minute at most (the fast lane), so that
//! hour-long RPCs cannot starve `version`. A dropped [`Slot`] goes to the peers in turn, and of one
//! peer's requests to the one that has waited longest: many requests of one peer never keep another
//! one waiting for all of them.
//!
//! A slot may carry a warm connection: one that was opened in advance and is parked here. A warm
//! connection counts as a slot in use. It is handed out before a new one is opened.

mod share;
mod turns;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use rules::identity::Digest;
use share::Share;
use turns::Turns;

pub use turns::Lane;

/// The slots and the queues in front of them, for connections of type `C`.
#[derive(Debug)]
pub struct Slots<C> {
    inner: Mutex<Inner<C>>,
    most: usize,
    most_slow: usize,
    longest_queue: usize,
}

#[derive(Debug)]
struct Inner<C> {
    in_use: usize,
    slow_in_use: usize,
    turns: Turns<oneshot::Sender<Slot<C>>>,
    /// Parked connections and since when, oldest first; each counts in `in_use`.
    warm: VecDeque<(Instant, C)>,
    share: Share,
    /// Where slots go that this process is done with, once it is replaced.
    successor: Option<UnboundedSender<usize>>,
}

/// How the slots are used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Slots in all.
    pub most: usize,
    /// Slots in use, warm connections among them.
    pub in_use: usize,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Warm connections that wait to be used.
    pub warm: usize,
}

/// The right to one connection to noded, given back on drop.
#[derive(Debug)]
pub struct Slot<C> {
    slots: Arc<Slots<C>>,
    /// `None` for a connection that is opened in advance and serves no request yet.
    of: Option<(Lane, Digest)>,
    warm: Option<C>,
}

/// A place in the queue, given up when the waiting future is dropped.
struct QueuePlace<'a, C> {
    slots: &'a Slots<C>,
    ticket: u64,
    peer: Digest,
}

impl<C> Slots<C> {
    /// `most` slots, of which `fast` are reserved for the fast lane, and a queue of `longest_queue`
    /// places.
    pub fn new(most: usize, fast: usize, longest_queue: usize) -> Arc<Self> {
        let most_slow = most.saturating_sub(fast).max(1);
        let inner = Inner {
            in_use: 0,
            slow_in_use: 0,
            turns: Turns::new(),
            warm: VecDeque::new(),
            share: Share::default(),
            successor: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            most,
            most_slow,
            longest_queue,
        })
    }

    /// How they are used now.
    pub fn load(&self) -> Load {
        let inner = self.lock();
        Load {
            most: self.most,
            in_use: inner.in_use,
            waiting: inner.turns.waiting(),
            warm: inner.warm.len(),
        }
    }

    /// Warm connections that are parked.
    pub fn warm(&self) -> usize {
        self.lock().warm.len()
    }

    /// Slots in all.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Waits for a slot until `deadline`. Dropping the future gives up the place in the queue.
    pub async fn take(
        self: &Arc<Self>,
        peer: Digest,
        lane: Lane,
        deadline: Instant,
    ) -> Result<Slot<C>, Error> {
        let (waited, ticket) = {
            let mut inner = self.lock();
            let behind_others = inner.turns.is_waited_for(lane);
            if !behind_others && let Some(slot) = self.occupy(&mut inner, lane, peer) {
                return Ok(slot);
            }
            if !inner.turns.has_place(peer, self.longest_queue) {
                return Err(Error::QueueFull {
                    waiting: inner.turns.waiting(),
                    in_use: inner.in_use,
                });
            }
            let (hand_over, waited) = oneshot::channel();
            let ticket = inner.turns.wait(peer, lane, hand_over);
            (waited, ticket)
        };
        let _place = QueuePlace {
            slots: self,
            ticket,
            peer,
        };
        match timeout_at(deadline, waited).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => {
                let load = self.load();
                Err(Error::QueueTimeout {
                    waiting: load.waiting.saturating_sub(1),
                    in_use: load.in_use,
                })
            }
        }
    }

    /// A slot for a connection in advance, if one is free and nobody waits.
    pub fn spare(self: &Arc<Self>) -> Option<Slot<C>> {
        let mut inner = self.lock();
        let waited_for = inner.turns.waiting() > 0;
        if waited_for || inner.in_use >= inner.share.limit(self.most) {
            return None;
        }
        inner.in_use += 1;
        Some(Slot {
            slots: Arc::clone(self),
            of: None,
            warm: None,
        })
    }

    /// Parks a warm connection, with the slot that it was opened for.
    pub fn park(self: &Arc<Self>, slot: Slot<C>, connection: C) {
        self.lock().warm.push_back((Instant::now(), connection));
        slot.stays_in_use();
        self.serve(self.lock());
    }

    /// Since when the oldest warm connection is parked.
    pub fn oldest_warm(&self) -> Option<Instant> {
        self.lock().warm.front().map(|(since, _)| *since)
    }

    /// Takes the oldest warm connection back, if it was parked at `since` or before.
    pub fn take_back(self: &Arc<Self>, since: Instant) -> Option<Slot<C>> {
        let mut inner = self.lock();
        if inner.warm.front()?.0 > since {
            return None;
        }
        let (_, connection) = inner.warm.pop_front()?;
        Some(Slot {
            slots: Arc::clone(self),
            of: None,
            warm: Some(connection),
        })
    }

    /// Slots that predecessors have.
    pub fn of_predecessors(&self) -> usize {
        self.lock().share.before()
    }

    /// Predecessors have so many slots, which this process must leave alone.
    pub fn leave_to_predecessors(self: &Arc<Self>, slots: usize) {
        let mut inner = self.lock();
        inner.share.wait_for(slots);
        self.serve(inner);
    }

    /// A successor takes over, or another one if there was one before. Each slot that this process
    /// is done with goes to `successor`. Returns how many it keeps until then, and whether it lacks
    /// one for a request that waits or may come.
    pub fn retire(&self, successor: UnboundedSender<usize>) -> (usize, bool) {
        let mut inner = self.lock();
        inner.successor = Some(successor);
        let in_use = inner.in_use;
        let kept = inner.share.retire(self.most, in_use);
        (kept, inner.share.lacks_one(in_use))
    }

    /// After [`Slots::retire`]: the successor leaves this process one more.
    pub fn is_given_one(self: &Arc<Self>) {
        let mut inner = self.lock();
        inner.share.is_given_one();
        self.serve(inner);
    }

    /// After [`Slots::retire`]: there is no successor after all.
    pub fn resume(self: &Arc<Self>) {
        let mut inner = self.lock();
        inner.successor = None;
        inner.share.resume();
        self.serve(inner);
    }

    /// After [`Slots::retire`]: no new request can come.
    pub fn settle(&self) {
        let mut inner = self.lock();
        inner.share.settle();
        inner.pass_on();
    }

    /// A slot for a request, with a warm connection if there is one.
    fn occupy(self: &Arc<Self>, inner: &mut Inner<C>, lane: Lane, peer: Digest) -> Option<Slot<C>> {
        let lane_free =
            lane == Lane::Fast || inner.slow_in_use < inner.share.limit_slow(self.most_slow);
        if !lane_free || (inner.warm.is_empty() && inner.in_use >= inner.share.limit(self.most)) {
            return None;
        }
        let warm = inner.warm.pop_front().map(|(_, connection)| connection);
        inner.in_use += usize::from(warm.is_none());
        inner.slow_in_use += usize::from(lane == Lane::Slow);
        inner.turns.gets(peer);
        Some(Slot {
            slots: Arc::clone(self),
            of: Some((lane, peer)),
            warm,
        })
    }

    /// Hands free slots to the requests that may have one, in turn.
    fn serve(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner<C>>) {
        let mut refused = Vec::new(); // the request has left: dropped outside the lock
        loop {
            let mut next = [Lane::Fast, Lane::Slow].map(|lane| (inner.turns.next(lane), lane));
            next.sort_by_key(|(next, _)| (next.is_none(), *next));
            let found = next.into_iter().find_map(|(next, lane)| {
                let (place, peer) = next?;
                let slot = self.occupy(&mut inner, lane, peer)?;
                Some((slot, inner.turns.take(lane, place)))
            });
            match found {
                None => break,
                Some((slot, None)) => refused.push(slot),
                Some((slot, Some(hand_over))) => refused.extend(hand_over.send(slot).err()),
            }
        }
        inner.pass_on();
        drop(inner);
        drop(refused);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Inner<C> {
    fn pass_on(&mut self) {
        let slots = self.share.pass_on(self.in_use);
        if let Some(successor) = &self.successor
            && slots > 0
        {
            let _ = successor.send(slots); // it has ended
        }
    }
}

impl<C> Slot<C> {
    /// The warm connection that came with the slot, if one did.
    pub fn warm(&mut self) -> Option<C> {
        self.warm.take()
    }

    /// The connection stays open, so its slot stays in use.
    fn stays_in_use(mut self) {
        self.warm = None;
        let mut inner = self.slots.lock();
        inner.in_use += 1; // the drop at the end of this function takes it off again
        drop(inner);
    }
}

impl<C> Drop for QueuePlace<'_, C> {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.turns.leave(self.peer, self.ticket);
    }
}

impl<C> Drop for Slot<C> {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.in_use -= 1;
        if let Some((lane, peer)) = self.of {
            inner.slow_in_use -= usize::from(lane == Lane::Slow);
            inner.turns.gives_back(peer);
        }
        self.slots.serve(inner);
    }
}

#[cfg(test)]
mod tests;
