//! What is counted of noded: connections, waits, bytes, faults. The numbers of the slots are not
//! counted here: the admin listener asks the slots for them.
//!
//! It must never decide anything: nothing reads these counters back.

use rules::{named, serde_by_name};

use super::error::Error;
use crate::metrics::{Counter, Counters, Gauge, Gauges, Histogram, Maker};

named! {
    /// What is counted of the connections to noded.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Connection {
        /// One was opened.
        Opened = "opened",
        /// One that was opened in advance was used by an RPC.
        Warm = "warm",
    }
}

named! {
    /// Which way a body goes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Direction {
        /// To noded.
        Request = "request",
        /// To the client.
        Reply = "reply",
    }
}

named! {
    /// What is seen on noded's port. More than one may be so.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum NodedState {
        /// noded listens.
        Listens = "listens",
        /// Nobody listens.
        Down = "down",
        /// noded listens beyond loopback.
        Exposed = "exposed",
        /// Somebody else listens.
        Impersonated = "impersonated",
        /// It cannot be seen.
        Unknown = "unknown",
    }
}

named! {
    /// How the guard of noded's port stands.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum GuardState {
        /// It holds.
        Holds = "holds",
        /// It does not hold, or did not a moment ago.
        Missing = "missing",
        /// noded speaks TLS.
        NotNeeded = "not_needed",
        /// Nobody looks.
        Off = "off",
    }
}
serde_by_name!(GuardState);

/// The handles.
#[derive(Debug)]
pub struct Metrics {
    pub(super) up: Gauge,
    pub(super) noded: Gauges<NodedState>,
    pub(super) guard: Gauges<GuardState>,
    pub(super) guard_losses: Counter,
    pub(super) connections: Counters<Connection>,
    pub(super) errors: Counters<Error>,
    pub(super) queue_duration: Histogram,
    pub(super) warm_spent: Counter,
    pub(super) body_bytes: Counters<Direction>,
}

impl Metrics {
    pub(crate) fn new(make: &mut Maker) -> Self {
        Self {
            up: make.gauge(
                "upstream_up",
                "0 when noded could not be reached at the last contact or look, else 1",
            ),
            noded: make.gauges(
                "noded",
                "1 for all that is so of noded's port at the last look",
                "state",
            ),
            guard: make.gauges(
                "guard",
                "1 for the state of the guard of noded's port",
                "state",
            ),
            guard_losses: make.counter(
                "guard_losses_total",
                "How often the guard of noded's port was lost, if only for a moment",
            ),
            connections: make.counters(
                "upstream_connections_total",
                "Connections to noded: opened (all), and warm (opened in advance, used by an RPC)",
                "kind",
            ),
            errors: make.counters(
                "upstream_errors_total",
                "Failed calls to noded, by kind",
                "kind",
            ),
            queue_duration: make
                .histogram("queue_duration_seconds", "Time that RPCs waited for a slot"),
            warm_spent: make.counter(
                "warm_spent_total",
                "Connections opened in advance that no RPC used, ended with a version call",
            ),
            body_bytes: make.counters(
                "body_bytes_total",
                "Bytes of request bodies sent to noded and of reply bodies received from it",
                "direction",
            ),
        }
    }
}
