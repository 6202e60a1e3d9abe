//! Warm connections: opened in advance while RPCs arrive, because noded needs some 20 ms for each
//! one (it forks and locks its memory). It does so while the client still shakes hands.
//!
//! The recent rate of arrivals decides how many; none when it is quiet, and never more than half
//! the slots. noded gives an open connection 10 s to send its request. One that no RPC took by then
//! is *used up*: it carries a `version` call, which noded logs as an ordinary request, and which
//! tells us that noded is well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::exchange::{Call, PROBE_AGENT, exchange};
use super::noded::Noded;
use super::noded_stream::NodedStream;
use super::slots::Slots;
use crate::proxy::http::Body;
use rules::identity::Digest;

/// Pause before a connection is opened in advance, so that the reply goes out first.
const REPLY_FIRST: Duration = Duration::from_millis(3);
/// Age at which an unused connection is used up. noded's READ_TIMEOUT is 10 s
/// (`lib/http/server.py`).
const USE_UP_AFTER: Duration = Duration::from_secs(8);
/// Time constant of the rate of arrivals, in seconds.
const MEMORY: f64 = 10.0;
/// Time that noded needs to get a connection ready, in seconds, with room for a busy machine.
const GET_READY: f64 = 0.06;
/// No connection is opened if fewer arrivals than this are expected in its life.
const WORTH_IT: f64 = 0.5;

/// The recent rate of arrivals: a count that decays with [`MEMORY`].
#[derive(Debug, Default)]
struct Arrivals(Mutex<Option<(Instant, f64)>>);

impl Arrivals {
    fn note(&self, now: Instant) {
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
    // One RPC alone counts as 1 in MEMORY seconds: not worth a second connection to noded.
    let first_alone = 1.0 / MEMORY;
    let expected = (per_second - first_alone).max(0.0) * USE_UP_AFTER.as_secs_f64();
    if expected < WORTH_IT {
        return 0;
    }
    ((per_second * GET_READY).ceil() as usize).max(1).min(most)
}

/// The warm connections: when to open them, and when to use them up.
#[derive(Debug)]
pub(super) struct Warm {
    noded: Arc<Noded>,
    slots: Arc<Slots<NodedStream>>,
    arrivals: Arrivals,
    /// A task is opening connections in advance.
    opening: AtomicBool,
    /// A connection was parked.
    warm_ready: Notify,
}

impl Warm {
    /// Starts the task that uses warm connections up in time, if there are to be any.
    pub(super) fn start(noded: Arc<Noded>, slots: Arc<Slots<NodedStream>>) -> Arc<Self> {
        let this = Arc::new(Self {
            noded,
            slots,
            arrivals: Arrivals::default(),
            opening: AtomicBool::new(false),
            warm_ready: Notify::new(),
        });
        if this.noded.settings.warm {
            let use_up = Arc::clone(&this).use_up_in_time();
            this.noded.handles.tasks.spawn(use_up);
        }
        this
    }

    /// An RPC has arrived.
    pub(super) fn note_arrival(&self, now: Instant) {
        self.arrivals.note(now);
    }

    /// Called after each answered RPC: opens what should be warm, in a task of its own.
    pub(super) fn open_if_wanted(self: &Arc<Self>) {
        let off = !self.noded.settings.warm;
        if off || self.opening.load(Ordering::Relaxed) || self.is_closing() {
            return;
        }
        if self.wanted() <= self.slots.warm() || self.opening.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = Arc::clone(self);
        // Tracked: the drain waits until open connections were used up. A connection that is
        // closed without a request leaves a traceback in noded's log.
        self.noded.handles.tasks.spawn(async move {
            sleep(REPLY_FIRST).await;
            this.open_in_advance().await;
            this.opening.store(false, Ordering::Relaxed);
        });
    }

    fn is_closing(&self) -> bool {
        self.noded.handles.closing.is_cancelled()
    }

    fn wanted(&self) -> usize {
        wanted(
            self.arrivals.per_second(Instant::now()),
            self.slots.most() / 2,
        )
    }

    async fn open_in_advance(&self) {
        while self.wanted() > self.slots.warm() && !self.is_closing() {
            let Some(slot) = self.slots.spare() else {
                return;
            };
            match self.noded.connect().await {
                Ok(stream) => {
                    self.slots.park(slot, stream);
                    self.warm_ready.notify_one();
                }
                Err(error) => {
                    debug!(%error, "no connection in advance");
                    return;
                }
            }
        }
        if self.is_closing() {
            self.use_up(Instant::now());
        }
    }

    /// Uses warm connections up before noded gives up on them, until the proxy closes.
    async fn use_up_in_time(self: Arc<Self>) {
        loop {
            let oldest = self.slots.oldest_warm();
            let due = oldest.map_or_else(Instant::now, |since| since + USE_UP_AFTER);
            tokio::select! {
                () = self.warm_ready.notified(), if oldest.is_none() => {}
                () = sleep_until(due), if oldest.is_some() => self.use_up(due - USE_UP_AFTER),
                () = self.noded.handles.closing.cancelled() => break,
            }
        }
        self.use_up(Instant::now());
    }

    /// Uses up what was parked then or before.
    fn use_up(&self, since: Instant) {
        while let Some(slot) = self.slots.take_back(since) {
            let probe = Call {
                procedure: "version".into(),
                body: Body::whole(Bytes::from_static(b"[]")),
                peer: Digest::from_bytes([0; 20]),
                may_go: Box::new(|| Ok(())),
                agent: PROBE_AGENT,
            };
            self.noded.count_used_up();
            // A probe is no arrival, so nothing is opened in advance after it.
            let probe = exchange(Arc::clone(&self.noded), slot, probe, || {});
            self.noded.handles.tasks.spawn(probe);
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
