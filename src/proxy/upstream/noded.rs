//! What every exchange needs of the local node daemon: how to connect to it, and the counters. A
//! connection is noded's beyond doubt before anybody gets it. It never sends a request: `exchange`
//! does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::Error;
use super::health::Health;
use super::lazy_tcp::LazyTcp;
use super::metrics::{Connection, Direction, Metrics};
use super::noded_stream::NodedStream;
use super::settings::Settings;
use crate::node::sockets;
use crate::proxy::http::Budget;
use crate::trust::Store;
use rules::noded::Stranger;

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

/// Time for a TLS handshake that only asks whether there can be one.
const SHORT: Duration = Duration::from_secs(2);

/// The local node daemon.
#[derive(Debug)]
pub(super) struct Noded {
    pub(super) settings: Settings,
    /// Its address as the Host field says it.
    pub(super) host: String,
    pub(super) handles: Handles,
    pub(super) health: Health,
    /// It has answered since it was last down: so it is known what it speaks.
    has_answered: AtomicBool,
}

impl Noded {
    pub(super) fn new(settings: Settings, handles: Handles) -> Arc<Self> {
        let health = Health::new(settings.address, Arc::clone(&handles.metrics));
        Arc::new(Self {
            host: settings.address.to_string(),
            settings,
            handles,
            health,
            has_answered: AtomicBool::new(false),
        })
    }

    pub(super) async fn connect(&self) -> Result<NodedStream, Error> {
        let (address, limit) = (self.settings.address, self.settings.connect_timeout);
        if self.health.is_impersonated() {
            self.refuse_impostor()?;
        }
        self.count_connection(Connection::Opened);
        let deadline = Instant::now() + limit;
        let tcp = timeout_at(deadline, LazyTcp::connect(address))
            .await
            .map_err(|_| Error::ConnectTimeout(limit))?
            .map_err(|error| Error::Connect(error.to_string()))?;
        self.prove(&tcp)?;
        match self.settings.tls {
            false => Ok(NodedStream::Plain(tcp)),
            true => Box::pin(self.shake_hands(tcp, deadline)).await,
        }
    }

    /// Whether noded, which has closed a plain connection without a word, would have one with TLS.
    pub(super) async fn speaks_tls(&self) -> bool {
        // A noded that has answered since it was last seen down does not speak TLS.
        if self.settings.tls || self.has_answered.load(Ordering::Relaxed) {
            return false;
        }
        let deadline = Instant::now() + self.settings.connect_timeout.min(SHORT);
        let Ok(Ok(tcp)) = timeout_at(deadline, LazyTcp::connect(self.settings.address)).await
        else {
            return false;
        };
        self.prove(&tcp).is_ok() && self.shake_hands(tcp, deadline).await.is_ok()
    }

    /// Saves a connection to somebody who is known not to be noded: where the guard is loaded, it
    /// would run into its time limit. It only makes the refusal quicker; [`Self::prove`] decides.
    fn refuse_impostor(&self) -> Result<(), Error> {
        let (address, trusted) = (self.settings.address, sockets::trusted());
        if !address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let listener = sockets::listener(address, trusted);
        let listener = listener.map_err(|error| Error::OwnerUnknown(error.to_string()))?;
        match listener.filter(|socket| !trusted.has(socket.uid)) {
            Some(socket) => Err(Error::Impersonated(socket.uid)),
            None => Ok(()),
        }
    }

    /// Whether an established connection is noded's. Nothing was sent on it yet. It is asked once
    /// for each connection, also for those that are opened in advance: see
    /// [`rules::noded::may_send`] why the answer stays true.
    ///
    /// Where only root may listen on the port, there is nothing to prove: that may change, but by
    /// root alone, and the next look at the port sees it.
    fn prove(&self, tcp: &LazyTcp) -> Result<(), Error> {
        if self.health.is_roots_port() {
            return Ok(());
        }
        let ours = tcp.socket().and_then(|socket| socket.local_addr());
        let ours: Option<SocketAddr> = ours.ok().and_then(|address| address.as_socket());
        let ours = ours.ok_or_else(|| Error::Connect("the connection is gone".into()))?;
        let looked = sockets::may_send_to(self.settings.address, ours, sockets::trusted());
        match looked.map_err(|error| Error::OwnerUnknown(error.to_string()))? {
            Ok(()) => Ok(()),
            Err(Stranger::Impostor(uid)) => Err(Error::Impersonated(uid)),
            Err(Stranger::Gone) => Err(Error::Connect("nobody listens there any more".into())),
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

    /// Takes noded's health from the outcome of a contact.
    pub(super) fn note_health(&self, error: Option<&Error>) {
        let down = error.filter(|e| e.is_down()).map(|e| self.describe(e));
        match error {
            None => self.has_answered.store(true, Ordering::Relaxed),
            Some(_) if down.is_some() => self.has_answered.store(false, Ordering::Relaxed),
            Some(_) => {}
        }
        self.health.note_contact(down);
        if matches!(error, Some(Error::Impersonated(_))) && !self.health.is_impersonated() {
            self.look(); // health and metrics say it at once
        }
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
