//! The upstream: the local node daemon, reached so that it is served well.
//!
//! Each request goes out on a connection of its own, with a known length, behind a head that is
//! made here. It is never sent twice, and nothing of the client's own head goes with it. When a
//! client leaves, noded works on; so the exchange goes on too and keeps its slot, until noded has
//! answered or closed.
//!
//! [`Upstream::slot`] and [`Upstream::call`] tell the story. The files, each of which calls only those behind it: `slots`
//! (a right to connect), `detach` (outlive the client), `warm` (connections in advance), `exchange`
//! (one request and its answer), `watch` (looks at noded's port), `noded` (connections), `health`
//! (what is known of noded), `wire` (HTTP), `server` (which kind of noded).

mod buffer_pool;
mod detach;
mod error;
mod exchange;
mod health;
mod lazy_tcp;
mod metrics;
mod noded;
mod noded_stream;
mod server;
mod settings;
mod slots;
mod version;
mod warm;
mod watch;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::http::Body;
use rules::authz::Permit;
use rules::identity::Digest;
use rules::procedures::{self, Timeout};

use detach::DetachOnDrop;
use exchange::Call;
use noded::Noded;
use warm::Warm;

pub use error::Error;
pub use exchange::Reply;
pub use health::{Guard, Looked};
pub use metrics::{GuardState, Metrics};
pub use noded::Handles;
pub use noded_stream::NodedStream;
pub use server::Server;
pub use settings::{GuardWatch, Settings};
pub use slots::{Lane, Load, Slot, Slots};
pub use version::call_version;
pub use watch::{now, read as read_guard, why_file};

/// The local node daemon behind its slots.
#[derive(Debug)]
pub struct Upstream {
    noded: Arc<Noded>,
    slots: Arc<Slots<NodedStream>>,
    warm: Arc<Warm>,
}

impl Upstream {
    /// The node daemon behind its slots. Must be called inside a tokio runtime.
    pub fn new(settings: Settings, handles: Handles) -> Self {
        let (all, fast) = (settings.slots, settings.fast_slots);
        let slots = Slots::new(all, fast, settings.queue_length);
        let noded = Noded::new(settings, handles);
        watch::start(&noded);
        let warm = Warm::start(Arc::clone(&noded), Arc::clone(&slots));
        Self { noded, slots, warm }
    }

    /// noded's address.
    pub fn address(&self) -> SocketAddr {
        self.noded.settings.address
    }

    /// The slots, for their numbers.
    pub fn slots(&self) -> &Arc<Slots<NodedStream>> {
        &self.slots
    }

    /// The error in the words that a person reads, with noded's address.
    pub fn describe(&self, error: &Error) -> String {
        self.noded.describe(error)
    }

    /// Why noded was not reached at the last contact or look; `None` while it answers.
    pub fn down(&self) -> Option<String> {
        self.noded.health.down()
    }

    /// Looks at noded's port again if the last look has found something wrong: whoever asks has
    /// perhaps just mended it.
    pub fn look_again(&self) {
        if !self.noded.health.is_well() {
            self.noded.look();
        }
    }

    /// What the last look at noded's port has found.
    pub fn looked(&self) -> Option<Looked> {
        self.noded.health.looked()
    }

    /// Waits for the right to call noded. If the future is dropped, the request leaves the queue.
    pub async fn slot(&self, peer: Digest, procedure: &str) -> Result<Slot<NodedStream>, Error> {
        let start = Instant::now();
        self.warm.note_arrival(start);
        let (lane, patience) = lane(procedure);
        let patience = patience.mul_f64(0.9).min(self.noded.settings.queue_timeout);
        let slot = self.slots.take(peer, lane, start + patience).await;
        self.noded.observe_queue(start.elapsed().as_secs_f64());
        slot.inspect_err(|error| self.noded.count_error(error))
    }

    /// Sends one admitted request, and gives the answer to `then`. `may_go` is asked once more when
    /// there is a connection to noded. If the future is dropped, because
    /// the client has left, the exchange goes on all the same, and `then` too gets what noded says.
    ///
    /// Not an async fn: its state would hold the whole exchange a second time.
    pub fn call<T, MayGo, Then>(
        &self,
        _permit: &Permit,
        slot: Slot<NodedStream>,
        (peer, procedure, body): (Digest, &str, Body),
        may_go: MayGo,
        then: Then,
    ) -> impl Future<Output = T> + use<T, MayGo, Then>
    where
        T: Send + 'static,
        MayGo: Fn() -> Result<(), Error> + Send + 'static,
        Then: FnOnce(Result<Reply, Error>) -> T + Send + 'static,
    {
        let call = Call {
            procedure: procedure.into(),
            body,
            peer,
            may_go: Box::new(may_go),
            agent: exchange::AGENT,
        };
        let warm = Arc::clone(&self.warm);
        let answered = move || warm.open_if_wanted();
        let exchange = exchange::exchange(Arc::clone(&self.noded), slot, call, answered);
        DetachOnDrop::new(
            async move { then(exchange.await) },
            &self.noded.handles.tasks,
        )
    }
}

/// The lane of a procedure and the patience of its client. Unknown procedures use the slow lane.
fn lane(procedure: &str) -> (Lane, Duration) {
    match procedures::find(procedure) {
        Some(known) if known.timeout == Timeout::Urgent => (Lane::Fast, known.timeout.duration()),
        Some(known) => (Lane::Slow, known.timeout.duration()),
        None => (Lane::Slow, Timeout::Normal.duration()),
    }
}
