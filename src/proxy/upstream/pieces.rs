//! The buffers of one long reply, used again and again: memory that is new to the process costs more than filling it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Buffers that a client may have before it is waited for.
const AHEAD: usize = 16;

/// How long it is waited for then. noded is to be rid of its reply, but a client that keeps up gets what
/// the processor still has at hand.
const PATIENCE: Duration = Duration::from_millis(2);

/// Buffers, lent to a reply's reader piece by piece.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    shelf: Mutex<Shelf>,
    back: Notify,
}

#[derive(Debug, Default)]
struct Shelf {
    free: Vec<Vec<u8>>,
    lent: usize,
}

impl Pieces {
    /// An empty buffer: one that has come back, or a new one if the reader has few, or none comes back in time.
    pub(super) async fn take(&self) -> Vec<u8> {
        if let Some(buffer) = self.at_hand() {
            return buffer;
        }
        let _ = timeout(PATIENCE, self.back.notified()).await;
        self.lock().free.pop().unwrap_or_default()
    }

    fn at_hand(&self) -> Option<Vec<u8>> {
        let mut shelf = self.lock();
        match shelf.free.pop() {
            None if shelf.lent < AHEAD => Some(Vec::new()),
            buffer => buffer,
        }
    }

    /// Lends a filled buffer, and tells how much memory it takes. It comes back when the last copy of it is dropped.
    pub(super) fn lend(self: &Arc<Self>, mut buffer: Vec<u8>) -> (usize, Bytes) {
        let mut shelf = self.lock();
        shelf.lent += 1;
        if shelf.lent > AHEAD {
            buffer.shrink_to_fit(); // it will wait
        }
        drop(shelf);
        let memory = buffer.capacity();
        let owner = Arc::clone(self);
        (memory, Bytes::from_owner(Lent { buffer, owner }))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    buffer: Vec<u8>,
    owner: Arc<Pieces>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut shelf = self.owner.lock();
        shelf.lent -= 1;
        // What was made for a reader that did not keep up is not kept.
        if shelf.free.len() < AHEAD {
            shelf.free.push(buffer);
        }
        drop(shelf);
        self.owner.back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buffers_come_back_and_are_used_again() {
        let pieces = Arc::new(Pieces::default());
        for round in 0..3 {
            let mut buffer = pieces.take().await;
            assert!(buffer.is_empty());
            assert_eq!(buffer.capacity() > 0, round > 0, "round {round}");
            buffer.extend_from_slice(b"abc");
            let (_, bytes) = pieces.lend(buffer);
            let copy = bytes.slice(1..);
            drop(bytes);
            assert_eq!(&copy[..], b"bc");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_keep_up_is_waited_for_and_then_not() {
        let pieces = Arc::new(Pieces::default());
        let mut lent = Vec::new();
        for _ in 0..AHEAD {
            let mut buffer = Vec::with_capacity(1000);
            buffer.push(1);
            let (memory, bytes) = pieces.lend(buffer);
            assert_eq!(memory, 1000);
            lent.push(bytes);
        }
        let begin = tokio::time::Instant::now();
        let mut buffer = pieces.take().await;
        assert_eq!(begin.elapsed(), PATIENCE);
        buffer.reserve_exact(1000);
        buffer.push(1);
        let (memory, bytes) = pieces.lend(buffer);
        assert_eq!(memory, 1, "no more than it needs while it waits");
        lent.push(bytes);

        let begin = tokio::time::Instant::now();
        let (buffer, ()) = tokio::join!(pieces.take(), async { drop(lent.pop()) });
        assert_eq!((begin.elapsed(), buffer.len()), (Duration::ZERO, 0));
        drop(lent);
        assert_eq!(pieces.lock().lent, 0);
        assert_eq!(pieces.lock().free.len(), AHEAD);
    }
}
