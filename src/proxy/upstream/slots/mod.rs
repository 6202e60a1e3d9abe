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

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use rules::identity::Digest;

/// Which slots a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// All of them.
    Fast,
    /// Those that are not reserved for the fast lane.
    Slow,
}

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
    /// What each peer has, of those that hold a slot or wait.
    peers: HashMap<Digest, Has>,
    next_ticket: u64,
    fast: VecDeque<Waiting<C>>,
    slow: VecDeque<Waiting<C>>,
    /// Parked connections and since when, oldest first; each counts in `in_use`.
    warm: VecDeque<(Instant, C)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Has {
    /// Slots in use.
    slots: usize,
    /// The ticket of its last slot.
    last: u64,
}

#[derive(Debug)]
struct Waiting<C> {
    ticket: u64,
    peer: Digest,
    hand_over: oneshot::Sender<Slot<C>>,
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
            peers: HashMap::new(),
            next_ticket: 0,
            fast: VecDeque::new(),
            slow: VecDeque::new(),
            warm: VecDeque::new(),
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
            waiting: inner.waiting(),
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
            let behind_others = !inner.queue(lane).is_empty();
            if !behind_others && let Some(slot) = self.occupy(&mut inner, lane, peer) {
                return Ok(slot);
            }
            if !inner.has_place(peer, self.longest_queue) {
                return Err(Error::QueueFull {
                    waiting: inner.waiting(),
                    in_use: inner.in_use,
                });
            }
            let ticket = inner.next_ticket();
            let (hand_over, waited) = oneshot::channel();
            inner.queue(lane).push_back(Waiting {
                ticket,
                peer,
                hand_over,
            });
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
        let waited_for = !inner.fast.is_empty() || !inner.slow.is_empty();
        if waited_for || inner.in_use >= self.most {
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

    /// A slot for a request, with a warm connection if there is one.
    fn occupy(self: &Arc<Self>, inner: &mut Inner<C>, lane: Lane, peer: Digest) -> Option<Slot<C>> {
        let lane_free = lane == Lane::Fast || inner.slow_in_use < self.most_slow;
        if !lane_free || (inner.warm.is_empty() && inner.in_use >= self.most) {
            return None;
        }
        let warm = inner.warm.pop_front().map(|(_, connection)| connection);
        inner.in_use += usize::from(warm.is_none());
        inner.slow_in_use += usize::from(lane == Lane::Slow);
        let ticket = inner.next_ticket();
        let has = inner.peers.entry(peer).or_default();
        (has.slots, has.last) = (has.slots + 1, ticket);
        Some(Slot {
            slots: Arc::clone(self),
            of: Some((lane, peer)),
            warm,
        })
    }

    /// Hands free slots to the requests that may have one, in the order of [`Inner::next`].
    fn serve(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner<C>>) {
        let mut refused = Vec::new(); // the request has left: dropped outside the lock
        loop {
            let next =
                [Lane::Fast, Lane::Slow].map(|lane| inner.next(lane).map(|(order, _)| order));
            let lanes = match next {
                [None, None] => break,
                [Some(fast), Some(slow)] if slow < fast => [Lane::Slow, Lane::Fast],
                _ => [Lane::Fast, Lane::Slow],
            };
            let found = lanes.into_iter().find_map(|lane| {
                let (_, index) = inner.next(lane)?;
                let peer = inner.queue(lane).get(index)?.peer;
                let slot = self.occupy(&mut inner, lane, peer)?;
                Some((slot, inner.queue(lane).remove(index)))
            });
            match found {
                None => break,
                Some((slot, None)) => refused.push(slot),
                Some((slot, Some(next))) => refused.extend(next.hand_over.send(slot).err()),
            }
        }
        drop(inner);
        drop(refused);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Inner<C> {
    fn queue(&mut self, lane: Lane) -> &mut VecDeque<Waiting<C>> {
        match lane {
            Lane::Fast => &mut self.fast,
            Lane::Slow => &mut self.slow,
        }
    }

    fn waiting(&self) -> usize {
        self.fast.len() + self.slow.len()
    }

    /// Who is served next in this lane, by place in its queue: a request of the peer that has the
    /// fewest slots, or had its last one the longest ago; of these the one that has waited longest.
    fn next(&self, lane: Lane) -> Option<((Has, u64), usize)> {
        let queue = match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        };
        let has = |peer| self.peers.get(peer).copied().unwrap_or_default();
        let waiting = queue.iter().enumerate();
        let order = waiting.map(|(index, w)| ((has(&w.peer), w.ticket), index));
        order.min()
    }

    /// Whether the queue has a place for this peer. No peer waits with more requests than there are
    /// places free, so there is always one for another peer.
    fn has_place(&self, peer: Digest, places: usize) -> bool {
        let free = places.saturating_sub(self.waiting());
        let all = self.fast.iter().chain(&self.slow);
        free > all.filter(|waiting| waiting.peer == peer).count()
    }

    fn gives_back(&mut self, peer: Digest) {
        if let Some(has) = self.peers.get_mut(&peer) {
            has.slots -= 1;
        }
        self.forget_if_idle(peer);
    }

    fn forget_if_idle(&mut self, peer: Digest) {
        let mut all = self.fast.iter().chain(&self.slow);
        let idle = self.peers.get(&peer).is_some_and(|has| has.slots == 0);
        if idle && !all.any(|waiting| waiting.peer == peer) {
            self.peers.remove(&peer);
        }
    }

    fn next_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
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
        inner.fast.retain(|w| w.ticket != self.ticket);
        inner.slow.retain(|w| w.ticket != self.ticket);
        inner.forget_if_idle(self.peer);
    }
}

impl<C> Drop for Slot<C> {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.in_use -= 1;
        if let Some((lane, peer)) = self.of {
            inner.slow_in_use -= usize::from(lane == Lane::Slow);
            inner.gives_back(peer);
        }
        self.slots.serve(inner);
    }
}

#[cfg(test)]
mod tests;
