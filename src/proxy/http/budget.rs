//! One bound on what the bodies of all peers together take, of memory or of disk.
//!
//! No peer holds more than it leaves free, so there is always something left for another one
//! (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998).
//! One peer alone has at most half; of `n` that want all, each has one part in `n + 1`. It counts;
//! the bytes themselves are never here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rules::identity::Digest;
use tokio::sync::Notify;

/// A number of bytes that peers share.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    given_back: Notify,
}

#[derive(Debug)]
struct Books {
    all: u64,
    free: u64,
    held: HashMap<Digest, u64>,
}

impl Books {
    /// Gives `bytes` to this peer, if it then holds no more than it leaves free.
    fn give(&mut self, peer: Digest, bytes: u64) -> bool {
        let held = self.held.get(&peer).copied().unwrap_or(0);
        let fits = |left: u64| held.saturating_add(bytes) <= left;
        let Some(left) = self.free.checked_sub(bytes).filter(|left| fits(*left)) else {
            return false;
        };
        self.free = left;
        *self.held.entry(peer).or_default() += bytes;
        true
    }

    fn take_back(&mut self, peer: Digest, bytes: u64) {
        self.free += bytes;
        if let Some(held) = self.held.get_mut(&peer) {
            *held -= bytes;
            if *held == 0 {
                self.held.remove(&peer);
            }
        }
    }
}

/// A part of the [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Budget,
    peer: Digest,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let books = Books {
            all: bytes,
            free: bytes,
            held: HashMap::new(),
        };
        Self(Arc::new(Shared {
            books: Mutex::new(books),
            given_back: Notify::new(),
        }))
    }

    /// Bytes that are taken now.
    pub fn in_use(&self) -> u64 {
        let books = self.lock();
        books.all - books.free
    }

    /// A lease of `bytes`, if this peer may have them now.
    pub fn try_take(&self, peer: Digest, bytes: u64) -> Option<Lease> {
        self.lock().give(peer, bytes).then(|| Lease {
            budget: self.clone(),
            peer,
            bytes,
        })
    }

    /// Waits until this peer may have `bytes`. It never may have more than half of all.
    pub async fn take(&self, peer: Digest, bytes: u64) -> Lease {
        loop {
            let mut given_back = std::pin::pin!(self.0.given_back.notified());
            given_back.as_mut().enable(); // what is given back from here on is not missed
            if let Some(lease) = self.try_take(peer, bytes) {
                return lease;
            }
            given_back.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while the lock is held; if it did, the books would still be right.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it `bytes` larger, if its peer may have them now.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let given = self.budget.lock().give(self.peer, bytes);
        if given {
            self.bytes += bytes;
        }
        given
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.give_back(surplus);
    }

    fn give_back(&mut self, bytes: u64) {
        if bytes > 0 {
            self.bytes -= bytes;
            self.budget.lock().take_back(self.peer, bytes);
            self.budget.0.given_back.notify_waiters();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: u8) -> Digest {
        Digest::of_der(&[number])
    }

    #[test]
    fn nobody_holds_more_than_is_left_free() {
        let budget = Budget::new(120);
        assert!(budget.try_take(peer(1), 61).is_none(), "more than half");
        let first = budget.try_take(peer(1), 60).unwrap();
        assert!(budget.try_take(peer(1), 1).is_none());
        assert!(budget.try_take(peer(2), 31).is_none());
        let second = budget.try_take(peer(2), 30).unwrap();
        let third = budget.try_take(peer(3), 15).unwrap();
        assert_eq!(budget.in_use(), 105);
        drop(first);
        // Now it competes with what the others hold.
        assert!(budget.try_take(peer(1), 38).is_none());
        assert!(budget.try_take(peer(1), 37).is_some());
        drop((second, third));
        assert_eq!(budget.in_use(), 0);
        assert!(budget.lock().held.is_empty());
    }

    #[test]
    fn a_lease_gives_back_what_it_does_not_need() {
        let budget = Budget::new(100);
        let mut lease = budget.try_take(peer(1), 50).unwrap();
        lease.shrink(60);
        assert_eq!(budget.in_use(), 50);
        lease.shrink(10);
        assert_eq!(budget.in_use(), 10);
        assert!(!lease.grow(41), "more than half");
        assert_eq!((budget.in_use(), lease.bytes()), (10, 10));
        assert!(lease.grow(40));
        assert_eq!((budget.in_use(), lease.bytes()), (50, 50));
        drop(lease);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_over_its_share_waits_and_another_peer_does_not() {
        let budget = Budget::new(100);
        let held = budget.take(peer(1), 50).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(peer(1), 40).await.bytes }
        });
        tokio::task::yield_now().await;
        drop(budget.take(peer(2), 25).await);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.await.unwrap(), 40);
    }

    proptest! {
        #[test]
        fn the_books_are_right(steps in prop::collection::vec((0..4_u8, 0..400_u64, any::<bool>()), 0..60)) {
            let budget = Budget::new(1000);
            let mut leases: Vec<Lease> = Vec::new();
            for (number, bytes, give_back) in steps {
                if give_back {
                    leases.retain(|lease| lease.peer != peer(number));
                } else if let Some(lease) = budget.try_take(peer(number), bytes) {
                    let held = |l: &&Lease| l.peer == peer(number);
                    let of_peer: u64 = leases.iter().filter(held).map(|l| l.bytes).sum();
                    leases.push(lease);
                    prop_assert!(of_peer + bytes <= 1000 - budget.in_use());
                }
                let all: u64 = leases.iter().map(|lease| lease.bytes).sum();
                prop_assert_eq!(budget.in_use(), all);
            }
        }
    }
}
