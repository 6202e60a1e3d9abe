//! The handles that all connections share. It decides nothing, and it remembers no request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::http::{Bodies, Budget};
use crate::proxy::metrics::Metrics;
use crate::proxy::overload::{Callers, Overload};
use crate::proxy::refusals::Refusals;
use crate::proxy::settings::Settings;
use crate::proxy::upstream::Upstream;
use crate::trust::{Reloads, Store};
use rules::policy::Policy;

/// What every connection gets.
#[derive(Debug)]
pub struct Shared {
    /// This node's name, for refusals that a person reads.
    pub host: String,
    /// Who is admitted.
    pub store: Arc<Store>,
    /// The local node daemon.
    pub upstream: Upstream,
    /// Which procedures may be called.
    pub policy: Policy,
    /// Who may hold a connection, and who may shake hands.
    pub overload: Arc<Overload>,
    /// Addresses of admitted peers that no list names.
    pub callers: Callers,
    /// Connections of admitted peers.
    pub connections: Budget,
    /// Gathers request bodies.
    pub bodies: Bodies,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Times and sizes that a client is held to.
    pub settings: Settings,
    /// Cancelled when the proxy drains, or was replaced.
    pub drain: CancellationToken,
    /// Cancelled when the proxy drains: not even a first request is waited for.
    pub stopped: CancellationToken,
    /// Cancelled in a process that was replaced, when what noded has not got yet is no longer this
    /// process's to pass.
    pub superseded: CancellationToken,
    /// Connections, and exchanges with noded: what a drain waits for.
    pub tasks: TaskTracker,
    /// The last refusals.
    pub refusals: Refusals,
    /// Where learned certificates go.
    pub reloads: Reloads,
    /// When the process started.
    pub started: Instant,
}

impl Shared {
    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
