//! Warm upstream connections: noded forks and locks its memory for each connection, some 20 ms, so while RPCs
//! arrive a few connections are opened in advance, and that work is done while the client still shakes hands.
//!
//! How many follows from the recent rate of arrivals; none when it is quiet. noded gives an open connection 10 s to
//! send its request, so one that nobody used is *spent* before: on a `version` call, which noded logs as
//! an ordinary request, and which tells us that noded is well.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::Upstream;
use super::exchange::PROBE_AGENT;
use crate::proxy::http::Body;

/// When a connection in advance is opened: not at once, the reply goes out first.
const PAUSE: Duration = Duration::from_millis(3);
/// When an unused connection is spent. noded's READ_TIMEOUT is 10 s (`lib/http/server.py`).
const SPEND_AFTER: Duration = Duration::from_secs(8);
/// Time constant of the rate of arrivals, in seconds.
const MEMORY: f64 = 10.0;
/// What noded needs to get a connection ready, in seconds, with room for a busy machine.
const GET_READY: f64 = 0.06;
/// Fewer expected arrivals in the life of a connection than this, and none is opened.
const WORTH_IT: f64 = 0.5;

/// The recent rate of arrivals: a count that decays with [`MEMORY`].
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Option<(Instant, f64)>>);

impl Arrivals {
    pub(super) fn note(&self, now: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((now, decayed(*last, now) + 1.0));
    }

    fn per_second(&self, now: Instant) -> f64 {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decayed(last, now) / MEMORY
    }
}

fn decayed(last: Option<(Instant, f64)>, now: Instant) -> f64 {
    last.map_or(0.0, |(at, count)| {
        count * (-now.saturating_duration_since(at).as_secs_f64() / MEMORY).exp()
    })
}

/// How many connections should be warm at this rate of arrivals, at most `most`. Pure.
fn wanted(per_second: f64, most: usize) -> usize {
    // A single RPC in a while is 1 in MEMORY seconds: not worth a second connection to noded.
    let first_alone = 1.0 / MEMORY;
    let expected = (per_second - first_alone).max(0.0) * SPEND_AFTER.as_secs_f64();
    if expected < WORTH_IT {
        return 0;
    }
    ((per_second * GET_READY).ceil() as usize).max(1).min(most)
}

impl Upstream {
    /// Called after each exchange: opens what should be warm, in a task of its own.
    pub(super) fn warm_up(self: &Arc<Self>) {
        if !self.settings.warm || self.opening.load(Ordering::Relaxed) || self.is_closing() {
            return;
        }
        if self.wanted() <= self.slots.warm() || self.opening.swap(true, Ordering::Relaxed) {
            return;
        }
        let upstream = Arc::clone(self);
        // Tracked: a drain waits until what is open was used up, or noded's log would show a traceback.
        self.exchanges.spawn(async move {
            sleep(PAUSE).await;
            upstream.open_in_advance().await;
            upstream.opening.store(false, Ordering::Relaxed);
        });
    }

    fn wanted(&self) -> usize {
        wanted(
            self.arrivals.per_second(Instant::now()),
            self.slots.most() / 2,
        )
    }

    async fn open_in_advance(self: &Arc<Self>) {
        while self.wanted() > self.slots.warm() && !self.is_closing() {
            let Some(slot) = self.slots.spare() else {
                return;
            };
            match self.connect().await {
                Ok(stream) => {
                    self.slots.lay_ready(slot, stream);
                    self.laid.notify_one();
                }
                Err(error) => {
                    debug!(%error, "no connection in advance");
                    return;
                }
            }
        }
        if self.is_closing() {
            self.spend(Instant::now());
        }
    }

    /// Uses warm connections up before noded gives up on them, until the proxy closes.
    pub(super) async fn spend_in_time(self: Arc<Self>) {
        loop {
            let oldest = self.slots.oldest_warm();
            let due = oldest.map_or_else(Instant::now, |since| since + SPEND_AFTER);
            tokio::select! {
                () = self.laid.notified(), if oldest.is_none() => {}
                () = sleep_until(due), if oldest.is_some() => self.spend(due - SPEND_AFTER),
                () = self.closing.cancelled() => break,
            }
        }
        self.spend(Instant::now());
    }

    /// Spends what was laid ready then or before.
    fn spend(self: &Arc<Self>, since: Instant) {
        while let Some(slot) = self.slots.take_back(since) {
            let body = Body::whole(Bytes::from_static(b"[]"));
            self.metrics.warm_spent.inc();
            let probe = Arc::clone(self).exchange(slot, "version".into(), body, PROBE_AGENT);
            self.exchanges.spawn(probe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_when_quiet_and_more_with_the_rate() {
        let table = [
            (0.0, 0),
            (0.1, 0),
            (0.15, 0),
            (0.2, 1),
            (1.0, 1),
            (16.0, 1),
            (30.0, 2),
            (80.0, 5),
            (1e9, 10),
        ];
        for (per_second, expected) in table {
            assert_eq!(
                wanted(per_second, 10),
                expected,
                "{per_second} RPCs a second"
            );
            assert_eq!(wanted(per_second, 0), 0, "with a single slot");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_follows_the_arrivals_and_decays() {
        let arrivals = Arrivals::default();
        let start = Instant::now();
        assert_eq!(arrivals.per_second(start), 0.0);
        for i in 0..600 {
            arrivals.note(start + Duration::from_millis(100 * i));
        }
        let end = start + Duration::from_secs(60);
        assert!((9.0..11.0).contains(&arrivals.per_second(end)));
        assert!(arrivals.per_second(end + Duration::from_secs(60)) < 0.05);
    }

    #[tokio::test(start_paused = true)]
    async fn one_rpc_alone_opens_nothing_and_two_soon_after_another_do() {
        let arrivals = Arrivals::default();
        let start = Instant::now();
        arrivals.note(start);
        assert_eq!(wanted(arrivals.per_second(start), 10), 0);
        arrivals.note(start + Duration::from_secs(2));
        assert_eq!(
            wanted(arrivals.per_second(start + Duration::from_secs(2)), 10),
            1
        );
    }
}
