//! What the gate says of each request, for whoever answers it; and whether all are answered. It never
//! answers one itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::super::Refusal;
use super::head::Framing;

/// The requests that have come through a gate, in their order.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) verdicts: VecDeque<Result<Framing, Refusal>>,
    unanswered: usize,
    /// Wants to know when all are answered.
    waiting: Option<Waker>,
}

/// What the gate says of one request.
#[derive(Debug)]
pub struct Arrival {
    /// Where its body ends, or why it is refused.
    pub verdict: Result<Framing, Refusal>,
    /// To be dropped when it is answered.
    pub unanswered: Unanswered,
}

/// Keeps the connection open while a request is not answered.
#[derive(Debug)]
pub struct Unanswered(Arrivals);

impl Arrivals {
    /// The request that hyper has read; each is there once.
    pub fn next(&self) -> Arrival {
        let unknown = || Err(Refusal::Head("it did not come through the gate".into()));
        let verdict = self.lock().verdicts.pop_front().unwrap_or_else(unknown);
        let unanswered = Unanswered(self.clone());
        Arrival {
            verdict,
            unanswered,
        }
    }

    pub(super) fn add(&self, verdict: Result<Framing, Refusal>) {
        let mut books = self.lock();
        books.verdicts.push_back(verdict);
        books.unanswered += 1;
    }

    /// Returns when all are answered.
    pub(super) fn poll_answered(&self, context: &Context<'_>) -> Poll<()> {
        let mut books = self.lock();
        if books.unanswered == 0 {
            return Poll::Ready(());
        }
        books.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut books = self.0.lock();
        books.unanswered = books.unanswered.saturating_sub(1);
        if let Some(waiting) = books.waiting.take() {
            waiting.wake();
        }
    }
}
