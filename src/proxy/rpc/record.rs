//! The log line and the counters of one RPC. It decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::logged::Ending;
use crate::proxy::http::{Cut, OnEnd, Rest, Unanswered};
use crate::proxy::shared::Shared;
use rules::identity::PeerIdentity;
use rules::procedures::label;
use rules::{Named, named};

/// The client at the other end of the connection.
#[derive(Debug)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// What the handshake proved.
    pub peer: PeerIdentity,
}

/// What the log line and the counters of one RPC need. Made when the head is there. Rides on the
/// answer, and is written when that has ended.
pub(super) struct Record {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<Client>,
    start: Instant,
    pub(super) key: Box<str>,
    pub(super) procedure: Box<str>,
    pub(super) request_bytes: u64,
    pub(super) timing: Timing,
    pub(super) status: StatusCode,
    pub(super) why: Option<String>,
    /// Why there is no good answer, as the metrics name it.
    pub(super) reason: Option<&'static str>,
    /// The proxy refused it.
    pub(super) refused: bool,
    /// How the rest of a refused request ends: the line waits for it.
    pub(super) rest: Option<oneshot::Receiver<Rest>>,
    /// How long it took until the answer was handed over, once that is counted.
    counted: Option<Duration>,
    written: bool,
    unanswered: Option<Unanswered>,
}

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timing {
    /// Wait for a slot.
    pub(super) queue: Duration,
    /// From the slot to the head of noded's answer, or to its end if it is short.
    pub(super) upstream: Duration,
}

named! {
    /// How an RPC ended, as the log line says it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Outcome {
        /// The whole answer was handed over, and the client did not reset the connection meanwhile.
        Complete = "complete",
        /// noded cut its answer, or the proxy a refused request that did not end.
        Cut = "cut",
        /// The client did not take the whole answer.
        ClientLeft = "client_left",
    }
}

impl Record {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<Client>, unanswered: Unanswered) -> Self {
        Self {
            shared,
            client,
            start: Instant::now(),
            key: "-".into(),
            procedure: "-".into(),
            request_bytes: 0,
            timing: Timing::default(),
            status: StatusCode::OK,
            why: None,
            reason: None,
            refused: false,
            rest: None,
            counted: None,
            written: false,
            unanswered: Some(unanswered),
        }
    }
}

impl OnEnd for Record {
    fn ended(mut self: Box<Self>, sent: u64, complete: bool, cut: Option<&Cut>) {
        let outcome = match (complete, cut) {
            (true, _) => Outcome::Complete,
            (false, Some(_)) => Outcome::Cut,
            (false, None) => Outcome::ClientLeft,
        };
        self.why = self.why.take().or_else(|| cut.map(ToString::to_string));
        match self.rest.take() {
            Some(rest) if outcome == Outcome::Complete => self.write_after(rest, sent),
            _ => self.write(sent, outcome),
        }
    }
}

impl Drop for Record {
    /// hyper drops a request whose client has left before there was an answer. Once noded has the
    /// request, it is no longer hyper's.
    fn drop(&mut self) {
        if !self.written {
            if self.counted.is_none() {
                self.status = left_early();
            }
            let outcome = match self.shared.drain.is_cancelled() {
                true => Outcome::Cut, // by the end of the drain
                false => Outcome::ClientLeft,
            };
            self.write(0, outcome);
        }
    }
}

/// There was nobody left to answer. No HTTP status says so; nginx has this one for it.
fn left_early() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or_default()
}

impl Record {
    /// Counts now. The log line comes when the client does not send any more.
    fn write_after(mut self: Box<Self>, rest: oneshot::Receiver<Rest>, sent: u64) {
        self.count();
        self.unanswered = None;
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move {
            let outcome = match rest.await {
                Ok(Rest::Over) => Outcome::Complete,
                Ok(Rest::Reset) => Outcome::ClientLeft,
                Ok(Rest::CutOff) | Err(_) => Outcome::Cut,
            };
            self.write(sent, outcome);
        });
    }

    /// Counts, unless that is done. Returns how long the RPC took.
    fn count(&mut self) -> Duration {
        let (total, code) = (self.start.elapsed(), self.status.as_u16());
        *self.counted.get_or_insert_with(|| {
            let (procedure, seconds) = (label(&self.procedure), total.as_secs_f64());
            self.shared.metrics.count_rpc(procedure, code, seconds);
            total
        })
    }

    /// Counts, and writes the log line. Every RPC comes here exactly once.
    fn write(&mut self, sent: u64, outcome: Outcome) {
        self.written = true;
        let (total, code) = (self.count(), self.status.as_u16());
        if !self.shared.settings.logged.has_line(self.ending(outcome)) {
            return;
        }
        let (peer, why) = (&self.client.peer, self.why.as_deref().unwrap_or_default());
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    peer = %self.client.address,
                    cn = peer.name(),
                    key = &*self.key,
                    digest = %peer.digest,
                    procedure = &*self.procedure,
                    status = code,
                    reason = self.reason,
                    request_bytes = self.request_bytes,
                    reply_bytes = sent,
                    queue_ms = milliseconds(self.timing.queue),
                    upstream_ms = milliseconds(self.timing.upstream),
                    total_ms = milliseconds(total),
                    outcome = outcome.name(),
                    why,
                    "rpc"
                )
            };
        }
        match self.status.is_server_error() || outcome == Outcome::Cut {
            true => line!(warn),
            false => line!(info),
        }
    }

    fn ending(&self, outcome: Outcome) -> Ending {
        match self.status.is_success() && outcome == Outcome::Complete {
            _ if self.refused => Ending::Refused,
            true => Ending::Good,
            false => Ending::Failed,
        }
    }
}

/// Milliseconds with three decimals.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
