//! Upstream slots: never more connections to noded than it takes, first in first out in front of them.
//!
//! noded forks a child for each connection and stops accepting beyond `--max-clients`. A part of the slots is
//! kept for procedures whose client waits a minute at most (the fast lane), so that hour-long RPCs cannot
//! starve `version`. A [`Slot`] is given back when it is dropped, and goes to whoever waits longest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Error;
use crate::metrics::Metrics;

/// Which slots a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// All of them.
    Fast,
    /// Those that are not kept for the fast lane.
    Slow,
}

/// The slots and the queues in front of them.
#[derive(Debug)]
pub struct Slots {
    inner: Mutex<Inner>,
    most: usize,
    most_slow: usize,
    longest_queue: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inner {
    in_use: usize,
    slow_in_use: usize,
    next_ticket: u64,
    fast: VecDeque<Waiting>,
    slow: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    lane: Lane,
    hand_over: oneshot::Sender<Slot>,
}

/// The right to have one connection to noded.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    lane: Lane,
}

/// Gives up the place in the queue when the waiting future is dropped.
struct Place<'a> {
    slots: &'a Slots,
    ticket: u64,
}

impl Slots {
    /// `most` slots, of which `fast` are kept for the fast lane, and a queue of `longest_queue` places.
    pub fn new(most: usize, fast: usize, longest_queue: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        metrics.slots.set(most as i64);
        let most_slow = most.saturating_sub(fast).max(1);
        Arc::new(Self {
            inner: Mutex::default(),
            most,
            most_slow,
            longest_queue,
            metrics,
        })
    }

    /// Slots in use, requests that wait.
    pub fn load(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.in_use, inner.fast.len() + inner.slow.len())
    }

    /// Slots in all.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Waits for a slot until `deadline`. Dropping the future gives up the place.
    pub async fn take(self: &Arc<Self>, lane: Lane, deadline: Instant) -> Result<Slot, Error> {
        let (waited, ticket) = {
            let mut inner = self.lock();
            let behind_others = !inner.queue(lane).is_empty();
            if !behind_others && self.free(&inner, lane) {
                return Ok(self.occupy(&mut inner, lane));
            }
            let waiting = inner.fast.len() + inner.slow.len();
            if waiting >= self.longest_queue {
                return Err(Error::QueueFull {
                    waiting,
                    in_use: inner.in_use,
                });
            }
            let ticket = inner.next_ticket;
            inner.next_ticket += 1;
            let (hand_over, waited) = oneshot::channel();
            inner.queue(lane).push_back(Waiting {
                ticket,
                lane,
                hand_over,
            });
            self.show(&inner);
            (waited, ticket)
        };
        let _place = Place {
            slots: self,
            ticket,
        };
        match timeout_at(deadline, waited).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => {
                let (in_use, waiting) = self.load();
                Err(Error::QueueTimeout {
                    waiting: waiting.saturating_sub(1),
                    in_use,
                })
            }
        }
    }

    fn free(&self, inner: &Inner, lane: Lane) -> bool {
        let lane_free = lane == Lane::Fast || inner.slow_in_use < self.most_slow;
        inner.in_use < self.most && lane_free
    }

    fn occupy(self: &Arc<Self>, inner: &mut Inner, lane: Lane) -> Slot {
        inner.in_use += 1;
        inner.slow_in_use += usize::from(lane == Lane::Slow);
        self.show(inner);
        Slot {
            slots: Arc::clone(self),
            lane,
        }
    }

    /// Hands free slots to those who wait, the longest waiting first among those who may have one.
    fn serve(self: &Arc<Self>) {
        let mut refused = Vec::new(); // slots whose taker has left: dropped outside the lock
        let mut inner = self.lock();
        loop {
            let first = |queue: &VecDeque<Waiting>| queue.front().map(|w| w.ticket);
            let fast = first(&inner.fast).filter(|_| self.free(&inner, Lane::Fast));
            let slow = first(&inner.slow).filter(|_| self.free(&inner, Lane::Slow));
            let lane = match (fast, slow) {
                (None, None) => break,
                (Some(fast), Some(slow)) if slow < fast => Lane::Slow,
                (Some(_), _) => Lane::Fast,
                (None, Some(_)) => Lane::Slow,
            };
            let Some(next) = inner.queue(lane).pop_front() else {
                break;
            };
            let slot = self.occupy(&mut inner, next.lane);
            if let Err(slot) = next.hand_over.send(slot) {
                refused.push(slot);
            }
        }
        self.show(&inner);
        drop(inner);
        drop(refused);
    }

    fn show(&self, inner: &Inner) {
        self.metrics.slots_in_use.set(inner.in_use as i64);
        self.metrics
            .queue_length
            .set((inner.fast.len() + inner.slow.len()) as i64);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn queue(&mut self, lane: Lane) -> &mut VecDeque<Waiting> {
        match lane {
            Lane::Fast => &mut self.fast,
            Lane::Slow => &mut self.slow,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.fast.retain(|w| w.ticket != self.ticket);
        inner.slow.retain(|w| w.ticket != self.ticket);
        self.slots.show(&inner);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut inner = self.slots.lock();
            inner.in_use -= 1;
            inner.slow_in_use -= usize::from(self.lane == Lane::Slow);
        }
        self.slots.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slots(most: usize, fast: usize, queue: usize) -> Arc<Slots> {
        Slots::new(most, fast, queue, Arc::default())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_slots_and_first_in_first_out() {
        let slots = slots(2, 0, 100);
        let a = slots.take(Lane::Slow, soon()).await.unwrap();
        let _b = slots.take(Lane::Fast, soon()).await.unwrap();
        let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
        for i in 0..5 {
            let (slots, order) = (Arc::clone(&slots), order.clone());
            let lane = if i % 2 == 0 { Lane::Fast } else { Lane::Slow };
            tokio::spawn(async move {
                let slot = slots.take(lane, soon()).await.unwrap();
                order.send(i).unwrap();
                drop(slot);
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.load(), (2, 5));
        drop((a, order));
        let mut seen = Vec::new();
        while let Some(i) = served.recv().await {
            seen.push(i);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(slots.load(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_fast_lane_stays_open_when_the_slow_one_is_full() {
        let slots = slots(4, 1, 100);
        let mut slow = Vec::new();
        for _ in 0..3 {
            slow.push(slots.take(Lane::Slow, soon()).await.unwrap());
        }
        let refused = slots
            .take(Lane::Slow, Instant::now() + Duration::from_millis(5))
            .await;
        assert_eq!(
            refused.unwrap_err(),
            Error::QueueTimeout {
                waiting: 0,
                in_use: 3
            }
        );
        let fast = slots.take(Lane::Fast, soon()).await.unwrap();
        assert_eq!(slots.load(), (4, 0));
        drop(fast);
        slow.pop();
        slots.take(Lane::Slow, soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_who_leaves_gives_up_the_place() {
        let slots = slots(1, 0, 1);
        let held = slots.take(Lane::Fast, soon()).await.unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.take(Lane::Fast, soon()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        let full = slots.take(Lane::Fast, soon()).await.unwrap_err();
        assert_eq!(
            full,
            Error::QueueFull {
                waiting: 1,
                in_use: 1
            }
        );
        waiting.abort();
        let _ = waiting.await;
        assert_eq!(slots.load(), (1, 0));
        drop(held);
        assert_eq!(slots.load(), (0, 0));
    }
}
