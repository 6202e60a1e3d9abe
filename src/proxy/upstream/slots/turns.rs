//! Whose turn it is. Pure: it knows who waits and who has how many slots, and makes nobody wait.
//!
//! The peers are served in turn, and the requests of one peer first in, first out.

use std::collections::{HashMap, VecDeque};

use rules::identity::Digest;

/// Which slots a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// All of them.
    Fast,
    /// Those that are not reserved for the fast lane.
    Slow,
}

/// The requests that wait, each with a handle `H`, and the peers that wait or have slots.
#[derive(Debug)]
pub(super) struct Turns<H> {
    peers: HashMap<Digest, Has>,
    last_ticket: u64,
    fast: VecDeque<Waiting<H>>,
    slow: VecDeque<Waiting<H>>,
}

/// What a peer has. The smaller one is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Has {
    /// Slots in use.
    slots: usize,
    /// The ticket of its last slot.
    last: u64,
}

#[derive(Debug)]
struct Waiting<H> {
    ticket: u64,
    peer: Digest,
    handle: H,
}

/// The place of the request that is next in a lane. The smaller one is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next {
    has: Has,
    ticket: u64,
    index: usize,
}

impl<H> Turns<H> {
    pub(super) fn new() -> Self {
        Self {
            peers: HashMap::new(),
            last_ticket: 0,
            fast: VecDeque::new(),
            slow: VecDeque::new(),
        }
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.fast.len() + self.slow.len()
    }

    /// Whether somebody waits in this lane.
    pub(super) fn is_waited_for(&self, lane: Lane) -> bool {
        !self.queue(lane).is_empty()
    }

    /// Whether a queue of so many places has one for this peer. No peer waits with more requests
    /// than there are places free, so there is always one for another peer.
    pub(super) fn has_place(&self, peer: Digest, places: usize) -> bool {
        let free = places.saturating_sub(self.waiting());
        free > self.all().filter(|waiting| waiting.peer == peer).count()
    }

    /// Lets a request wait, and returns its ticket.
    pub(super) fn wait(&mut self, peer: Digest, lane: Lane, handle: H) -> u64 {
        let ticket = self.next_ticket();
        self.queue_mut(lane).push_back(Waiting {
            ticket,
            peer,
            handle,
        });
        ticket
    }

    /// A request waits no more, whether it was served or not.
    pub(super) fn leave(&mut self, peer: Digest, ticket: u64) {
        self.fast.retain(|waiting| waiting.ticket != ticket);
        self.slow.retain(|waiting| waiting.ticket != ticket);
        self.forget_if_idle(peer);
    }

    /// Who is next in this lane: a request of the peer that has the fewest slots, or had its last
    /// one the longest ago; of these the one that has waited longest.
    pub(super) fn next(&self, lane: Lane) -> Option<(Next, Digest)> {
        let waiting = self.queue(lane).iter().enumerate();
        let places = waiting.map(|(index, waiting)| {
            let has = self.peers.get(&waiting.peer).copied().unwrap_or_default();
            let ticket = waiting.ticket;
            let next = Next { has, ticket, index };
            (next, waiting.peer)
        });
        places.min()
    }

    /// Takes that request out of the queue.
    pub(super) fn take(&mut self, lane: Lane, next: Next) -> Option<H> {
        let waiting = self.queue_mut(lane).remove(next.index);
        waiting.map(|waiting| waiting.handle)
    }

    /// A peer gets a slot.
    pub(super) fn gets(&mut self, peer: Digest) {
        let ticket = self.next_ticket();
        let has = self.peers.entry(peer).or_default();
        (has.slots, has.last) = (has.slots + 1, ticket);
    }

    /// A peer gives a slot back.
    pub(super) fn gives_back(&mut self, peer: Digest) {
        if let Some(has) = self.peers.get_mut(&peer) {
            has.slots -= 1;
        }
        self.forget_if_idle(peer);
    }

    /// Peers that are remembered.
    #[cfg(test)]
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    fn forget_if_idle(&mut self, peer: Digest) {
        let idle = self.peers.get(&peer).is_some_and(|has| has.slots == 0);
        if idle && !self.all().any(|waiting| waiting.peer == peer) {
            self.peers.remove(&peer);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Waiting<H>> {
        self.fast.iter().chain(&self.slow)
    }

    fn queue(&self, lane: Lane) -> &VecDeque<Waiting<H>> {
        match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        }
    }

    fn queue_mut(&mut self, lane: Lane) -> &mut VecDeque<Waiting<H>> {
        match lane {
            Lane::Fast => &mut self.fast,
            Lane::Slow => &mut self.slow,
        }
    }

    fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}
