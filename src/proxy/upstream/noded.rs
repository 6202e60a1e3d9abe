//! What every exchange needs of the local node daemon: how to connect to it, whether it is well,
//! and the counters. It never sends a request: `exchange` does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::error::Error;
use super::lazy_tcp::LazyTcp;
use super::metrics::{Connection, Direction, Metrics};
use super::noded_stream::NodedStream;
use super::settings::Settings;
use crate::proxy::http::Budget;
use crate::trust::Store;

/// What the daemon shares with the upstream.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Says who is admitted, and has the TLS connector.
    pub store: Arc<Store>,
    /// Memory for long replies.
    pub memory: Budget,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Runs what outlives its client; a drain waits for it.
    pub tasks: TaskTracker,
    /// Cancelled when connections are no longer to be opened in advance.
    pub closing: CancellationToken,
}

/// The local node daemon.
#[derive(Debug)]
pub(super) struct Noded {
    pub(super) settings: Settings,
    /// Its address as the Host field says it.
    pub(super) host: String,
    pub(super) handles: Handles,
    /// What the last contact said: `None` if noded answered, else why not.
    health: Mutex<Option<String>>,
}

impl Noded {
    pub(super) fn new(settings: Settings, handles: Handles) -> Arc<Self> {
        handles.metrics.up.set(1);
        Arc::new(Self {
            host: settings.address.to_string(),
            settings,
            handles,
            health: Mutex::default(),
        })
    }

    pub(super) async fn connect(&self) -> Result<NodedStream, Error> {
        let (address, limit) = (self.settings.address, self.settings.connect_timeout);
        self.count_connection(Connection::Opened);
        let deadline = Instant::now() + limit;
        let tcp = timeout_at(deadline, LazyTcp::connect(address))
            .await
            .map_err(|_| Error::ConnectTimeout(limit))?
            .map_err(|error| Error::Connect(error.to_string()))?;
        match self.settings.tls {
            false => Ok(NodedStream::Plain(tcp)),
            true => Box::pin(self.shake_hands(tcp, deadline)).await,
        }
    }

    async fn shake_hands(&self, tcp: LazyTcp, deadline: Instant) -> Result<NodedStream, Error> {
        tcp.socket()
            .and_then(|socket| socket.set_tcp_nodelay(true))
            .map_err(|error| Error::Internal(error.to_string()))?;
        let snapshot = self.handles.store.snapshot();
        let tls = snapshot
            .tls
            .as_ref()
            .ok_or_else(|| Error::Tls("no server.pem".into()))?;
        let stream = timeout_at(deadline, tls.connector.connect(tcp))
            .await
            .map_err(|_| Error::ConnectTimeout(self.settings.connect_timeout))?
            .map_err(Error::Tls)?;
        Ok(NodedStream::Tls(Box::new(stream)))
    }

    /// The error in the words that a person reads, with noded's address.
    pub(super) fn describe(&self, error: &Error) -> String {
        format!("noded at {}: {error}", self.settings.address)
    }

    /// Why noded was not reached at the last contact; `None` while it answers.
    pub(super) fn down(&self) -> Option<String> {
        self.lock_health().clone()
    }

    /// Takes noded's health from the outcome of a contact. Logs one line at each change.
    pub(super) fn note_health(&self, error: Option<&Error>) {
        let down = error.filter(|e| e.is_down()).map(|e| self.describe(e));
        let mut health = self.lock_health();
        if health.is_some() != down.is_some() {
            self.handles.metrics.up.set(i64::from(down.is_none()));
            match &down {
                Some(why) => warn!(why, "noded is down"),
                None => info!(address = %self.settings.address, "noded is up again"),
            }
        }
        *health = down;
    }

    fn lock_health(&self) -> MutexGuard<'_, Option<String>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_error(&self, error: &Error) {
        self.handles.metrics.errors.of(error).inc();
    }

    pub(super) fn count_connection(&self, kind: Connection) {
        self.handles.metrics.connections.of(kind).inc();
    }

    pub(super) fn count_bytes(&self, direction: Direction, bytes: u64) {
        self.handles.metrics.body_bytes.of(direction).inc_by(bytes);
    }

    pub(super) fn count_used_up(&self) {
        self.handles.metrics.warm_spent.inc();
    }

    pub(super) fn observe_queue(&self, seconds: f64) {
        self.handles.metrics.queue_duration.observe(seconds);
    }
}
