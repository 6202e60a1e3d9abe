//! The upstream: the local node daemon, reached so that it is served well.
//!
//! A request goes out whole or with a known length, behind one freshly made head, on a connection of its own and
//! never twice. The exchange with noded holds the slot and goes on when its client leaves: noded goes on
//! working then, and takes its slot with it until it has answered or closed.

mod background;
mod connected;
mod exchange;
mod fresh;
mod pieces;
mod slots;
mod warm;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::proxy::http::{Body, Budget, Refusal, ReplyBody};
use crate::trust::Store;
use rules::authz::Permit;
use rules::identity::PeerIdentity;
use rules::procedures::{self, Timeout};

use background::GoesOn;

pub use connected::Connected;
pub use slots::{Lane, Slot, Slots};

/// Why noded gave no whole answer. The words follow "noded at ADDR:PORT: ", see [`Upstream::describe`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue in front of the slots is full.
    #[error("busy: {in_use} RPCs running, {waiting} waiting, the queue is full")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
        /// Slots in use.
        in_use: usize,
    },
    /// No slot came free in time.
    #[error("busy: no slot came free in time ({in_use} RPCs running, {waiting} waiting)")]
    QueueTimeout {
        /// Requests that wait.
        waiting: usize,
        /// Slots in use.
        in_use: usize,
    },
    /// The connection was refused or failed.
    #[error("cannot be reached: {0}")]
    Connect(String),
    /// The connection was not accepted in time.
    #[error("did not accept the connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The TLS handshake with noded failed, or there is no `server.pem` for it.
    #[error("TLS: {0}")]
    Tls(String),
    /// The request could not be sent whole.
    #[error("the request could not be sent: {0}")]
    Send(String),
    /// noded took no more of the request for `send_timeout`.
    #[error("did not read the request in time")]
    SendTimeout,
    /// noded closed without a byte of an answer, as it does for procedures that it does not know.
    #[error("closed the connection without an answer ({0}); it does so for unknown procedures")]
    EmptyReply(String),
    /// noded closed in the middle of its answer.
    #[error("closed the connection in the middle of its answer ({0})")]
    CutReply(String),
    /// The answer is not what noded sends.
    #[error("its answer is not understood: {0}")]
    BadReply(String),
    /// The request broke off on the client's side while it was passed on, or its sender was demoted before.
    #[error("{0}")]
    Client(Refusal),
    /// Our own fault.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The kind's name, as in the label of `noded_proxy_upstream_errors_total`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "queue_full",
            Self::QueueTimeout { .. } => "queue_timeout",
            Self::Connect(..) => "connect",
            Self::ConnectTimeout(..) => "connect_timeout",
            Self::Tls(..) => "tls",
            Self::Send(_) => "send",
            Self::SendTimeout => "send_timeout",
            Self::EmptyReply(_) => "empty_reply",
            Self::CutReply(_) => "cut_reply",
            Self::BadReply(_) => "bad_reply",
            Self::Client(_) => "client",
            Self::Internal(_) => "internal",
        }
    }

    /// Every name that [`Error::kind`] can return.
    pub const KINDS: [&'static str; 12] = [
        "queue_full",
        "queue_timeout",
        "connect",
        "connect_timeout",
        "tls",
        "send",
        "send_timeout",
        "empty_reply",
        "cut_reply",
        "bad_reply",
        "client",
        "internal",
    ];

    /// Whether it says that noded cannot be reached at all.
    fn is_down(&self) -> bool {
        matches!(
            self,
            Self::Connect(..) | Self::ConnectTimeout(..) | Self::Tls(..)
        )
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::QueueFull { .. } | Self::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect(..) | Self::Tls(..) | Self::Send(_) => StatusCode::BAD_GATEWAY,
            Self::EmptyReply(_) | Self::CutReply(_) | Self::BadReply(_) => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout(..) | Self::SendTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Client(refusal) => refusal.status(),
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// noded's answer.
pub struct Reply {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its body, whole or still coming.
    pub body: ReplyBody,
}

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Wait for a slot.
    pub queue: Duration,
    /// From the slot to the head of noded's answer (to its end where it was gathered whole).
    pub upstream: Duration,
}

/// How noded is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// noded's address.
    pub address: SocketAddr,
    /// Speak TLS to it.
    pub tls: bool,
    /// Time for connection and TLS handshake.
    pub connect_timeout: Duration,
    /// Time without progress while a request is sent.
    pub send_timeout: Duration,
    /// Connections to it at a time.
    pub slots: usize,
    /// Of these, kept for procedures whose client is in a hurry.
    pub fast_slots: usize,
    /// Requests that may wait for a slot.
    pub queue_length: usize,
    /// Longest wait for a slot.
    pub queue_timeout: Duration,
    /// Open connections in advance while RPCs arrive.
    pub warm: bool,
}

/// The local node daemon.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    /// Cancelled when no connection is to be opened in advance any more.
    closing: CancellationToken,
    /// The address in the Host field.
    host: String,
    slots: Arc<Slots<Connected>>,
    store: Arc<Store>,
    budget: Budget,
    metrics: Arc<Metrics>,
    exchanges: TaskTracker,
    arrivals: warm::Arrivals,
    /// A task is opening connections in advance.
    opening: AtomicBool,
    /// A connection was laid ready.
    laid: Notify,
    /// What the last contact said: noded answers, or why not.
    health: Mutex<Option<String>>,
}

impl Upstream {
    /// The node daemon behind its slots. What outlives its client runs as tasks of `exchanges`. Must be called
    /// inside a tokio runtime.
    pub fn new(
        settings: Settings,
        closing: CancellationToken,
        store: Arc<Store>,
        budget: Budget,
        metrics: Arc<Metrics>,
        exchanges: TaskTracker,
    ) -> Arc<Self> {
        metrics.upstream_up.set(1);
        let (arrivals, health) = (warm::Arrivals::default(), Mutex::default());
        let Settings {
            slots,
            fast_slots,
            queue_length,
            ..
        } = settings;
        let this = Arc::new(Self {
            host: settings.address.to_string(),
            settings,
            closing,
            slots: Slots::new(slots, fast_slots, queue_length),
            store,
            budget,
            metrics,
            exchanges,
            arrivals,
            opening: AtomicBool::new(false),
            laid: Notify::new(),
            health,
        });
        if this.settings.warm {
            let spend = Arc::clone(&this).spend_in_time();
            this.exchanges.spawn(spend);
        }
        this
    }

    /// noded's address.
    pub fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// The slots, for their numbers.
    pub fn slots(&self) -> &Slots<Connected> {
        &self.slots
    }

    /// The error in the words that a person reads, with noded's address.
    pub fn describe(&self, error: &Error) -> String {
        format!("noded at {}: {error}", self.settings.address)
    }

    /// Why noded was not reached at the last contact; `None` while it is.
    pub fn down(&self) -> Option<String> {
        self.lock_health().clone()
    }

    fn lock_health(&self) -> MutexGuard<'_, Option<String>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// noded's health follows from each contact; one log line at each change.
    fn note_health(&self, error: Option<&Error>) {
        let down = error.filter(|e| e.is_down()).map(|e| self.describe(e));
        let mut health = self.lock_health();
        if health.is_some() != down.is_some() {
            self.metrics.upstream_up.set(i64::from(down.is_none()));
            match &down {
                Some(why) => warn!(why, "noded is down"),
                None => info!(address = %self.settings.address, "noded is up again"),
            }
        }
        *health = down;
    }

    fn count_error(&self, error: &Error) {
        let counter = &self.metrics.upstream_errors;
        counter.with_label_values(&[error.kind()]).inc();
    }

    /// Sends one admitted request and waits for the answer. Dropping the future before a slot was had leaves
    /// the queue; after that noded works on, and so does the exchange that holds the slot.
    pub async fn call(
        self: &Arc<Self>,
        _permit: &Permit,
        peer: &PeerIdentity,
        procedure: &str,
        body: Body,
    ) -> (Result<Reply, Error>, Timing) {
        let start = Instant::now();
        self.arrivals.note(start);
        let (lane, patience) = lane(procedure);
        let patience = patience.mul_f64(0.9).min(self.settings.queue_timeout);
        let slot = self.slots.take(lane, start + patience).await;
        let mut timing = Timing {
            queue: start.elapsed(),
            upstream: Duration::ZERO,
        };
        self.metrics
            .queue_duration
            .observe(timing.queue.as_secs_f64());
        let slot = match slot {
            Ok(slot) => slot,
            Err(error) => {
                self.count_error(&error);
                return (Err(error), timing);
            }
        };
        // Body and queue may have taken hours: the map of this moment decides.
        if let Err(denied) = self.store.authorise(peer) {
            return (Err(Error::Client(Refusal::Denied(denied))), timing);
        }
        let result = self.begin(slot, procedure, body).await;
        timing.upstream = start.elapsed() - timing.queue;
        (result, timing)
    }

    /// An exchange that goes on without its client. No async function, which would have room for it, too.
    fn begin(
        self: &Arc<Self>,
        slot: Slot<Connected>,
        procedure: &str,
        body: Body,
    ) -> GoesOn<impl Future<Output = Result<Reply, Error>> + use<>> {
        let exchange = Arc::clone(self).exchange(slot, procedure.into(), body, exchange::AGENT);
        GoesOn::new(exchange, &self.exchanges)
    }
}

/// The lane of a procedure and the patience of its client. Unknown procedures wait among the slow ones.
fn lane(procedure: &str) -> (Lane, Duration) {
    match procedures::find(procedure) {
        Some(known) if known.timeout == Timeout::Urgent => (Lane::Fast, known.timeout.duration()),
        Some(known) => (Lane::Slow, known.timeout.duration()),
        None => (Lane::Slow, Timeout::Normal.duration()),
    }
}
