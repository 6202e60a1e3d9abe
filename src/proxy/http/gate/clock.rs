//! The time that a head has: it runs while the gate waits for one and nothing is to be answered.
//! What happens when it is over is the gate's to say.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Clock {
    limit: Duration,
    runs: bool,
    /// Kept from head to head.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            runs: false,
            sleep: None,
        }
    }

    /// Starts it if it does not run. Returns when the time is over.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.runs {
            self.runs = true;
            let end = Instant::now() + self.limit;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(end)));
            sleep.as_mut().reset(end);
        }
        let sleep = self.sleep.as_mut();
        sleep.map_or(Poll::Pending, |sleep| sleep.as_mut().poll(context))
    }

    pub(super) fn stop(&mut self) {
        self.runs = false;
    }
}
