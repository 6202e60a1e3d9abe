//! The buffers of one long reply, used again and again. Fresh memory costs page faults, which
//! took a fifth of the CPU of a long reply. The pool never bounds memory: the budget does that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Buffers that may be with the client before the reader waits for one to come back.
const AHEAD: usize = 16;

/// Longest wait for one to come back. noded should get rid of its reply soon, but a client that
/// keeps up gets buffers that are still in the processor's cache.
const PATIENCE: Duration = Duration::from_millis(2);

/// Buffers that are filled from noded, lent to the client, and come back.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    buffers: Mutex<Buffers>,
    back: Notify,
}

#[derive(Debug, Default)]
struct Buffers {
    free: Vec<Vec<u8>>,
    lent: usize,
}

impl BufferPool {
    /// An empty buffer: one that has come back, or a new one if few are lent or none comes back in
    /// time.
    pub(super) async fn take(&self) -> Vec<u8> {
        if let Some(buffer) = self.at_hand() {
            return buffer;
        }
        let _ = timeout(PATIENCE, self.back.notified()).await;
        self.lock().free.pop().unwrap_or_default()
    }

    fn at_hand(&self) -> Option<Vec<u8>> {
        let mut buffers = self.lock();
        match buffers.free.pop() {
            None if buffers.lent < AHEAD => Some(Vec::new()),
            buffer => buffer,
        }
    }

    /// Lends a filled buffer, and returns how much memory it takes. It comes back when the last
    /// copy of it is dropped.
    pub(super) fn lend(self: &Arc<Self>, mut buffer: Vec<u8>) -> (usize, Bytes) {
        let mut buffers = self.lock();
        buffers.lent += 1;
        if buffers.lent > AHEAD {
            buffer.shrink_to_fit(); // the client is slow: it will wait for long
        }
        drop(buffers);
        let memory = buffer.capacity();
        let owner = Arc::clone(self);
        (memory, Bytes::from_owner(Lent { buffer, owner }))
    }

    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    buffer: Vec<u8>,
    owner: Arc<BufferPool>,
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
        let mut buffers = self.owner.lock();
        buffers.lent -= 1;
        // Buffers that were made for a slow client are not kept.
        if buffers.free.len() < AHEAD {
            buffers.free.push(buffer);
        }
        drop(buffers);
        self.owner.back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buffers_come_back_and_are_used_again() {
        let pool = Arc::new(BufferPool::default());
        for round in 0..3 {
            let mut buffer = pool.take().await;
            assert!(buffer.is_empty());
            assert_eq!(buffer.capacity() > 0, round > 0, "round {round}");
            buffer.extend_from_slice(b"abc");
            let (_, bytes) = pool.lend(buffer);
            let copy = bytes.slice(1..);
            drop(bytes);
            assert_eq!(&copy[..], b"bc");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_keep_up_is_waited_for_and_then_not() {
        let pool = Arc::new(BufferPool::default());
        let mut lent = Vec::new();
        for _ in 0..AHEAD {
            let mut buffer = Vec::with_capacity(1000);
            buffer.push(1);
            let (memory, bytes) = pool.lend(buffer);
            assert_eq!(memory, 1000);
            lent.push(bytes);
        }
        let begin = tokio::time::Instant::now();
        let mut buffer = pool.take().await;
        assert_eq!(begin.elapsed(), PATIENCE);
        buffer.reserve_exact(1000);
        buffer.push(1);
        let (memory, bytes) = pool.lend(buffer);
        assert_eq!(memory, 1, "no more than it needs while it waits");
        lent.push(bytes);

        let begin = tokio::time::Instant::now();
        let (buffer, ()) = tokio::join!(pool.take(), async { drop(lent.pop()) });
        assert_eq!((begin.elapsed(), buffer.len()), (Duration::ZERO, 0));
        drop(lent);
        assert_eq!(pool.lock().lent, 0);
        assert_eq!(pool.lock().free.len(), AHEAD);
    }
}
