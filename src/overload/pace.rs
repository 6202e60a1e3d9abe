//! Pace: how much of the processors the handshakes of strangers may take at a time.
//!
//! A handshake is a few steps of up to a millisecond of computing, with waits for the peer in between. Only the
//! computing is bounded here, never the waits: whoever is slow keeps nobody from anything, and a flood from unknown
//! addresses always leaves one processor to the candidates.

use std::pin::pin;
use std::sync::Arc;
use std::task::ready;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// The steps that strangers may take at a time.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Semaphore>);

impl Pace {
    /// One step less at a time than there are processors, one at least.
    pub(super) fn of_this_machine() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::new(processors.saturating_sub(1).max(1))
    }

    fn new(steps: usize) -> Self {
        Self(Arc::new(Semaphore::new(steps)))
    }

    /// Runs `work`, each of its steps when its turn has come, first come first served.
    pub(super) async fn run<F: Future>(&self, work: F) -> F::Output {
        let mut steps = PollSemaphore::new(Arc::clone(&self.0));
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            // It is never closed, and what is held here is let go at the end of the step.
            let _step = ready!(steps.poll_acquire(context));
            work.as_mut().poll(context)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_peer_holds_nobody_up() {
        let pace = Pace::new(1);
        let slow: Vec<_> = (0..3)
            .map(|_| {
                let pace = pace.clone();
                tokio::spawn(async move { pace.run(sleep(Duration::from_secs(60))).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let quick = timeout(Duration::from_secs(1), pace.run(async { 7 })).await;
        assert_eq!(quick, Ok(7));
        for slow in slow {
            slow.await.unwrap();
        }
        assert_eq!(pace.0.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_waits_for_its_turn_and_a_dropped_one_gives_its_place_up() {
        let pace = Pace::new(1);
        let busy = Arc::clone(&pace.0).acquire_owned().await.unwrap();
        let given_up = timeout(Duration::from_secs(1), pace.run(async {})).await;
        assert!(given_up.is_err());
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.run(async { 7 }).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(busy);
        assert_eq!(waiting.await.unwrap(), 7);
    }
}
