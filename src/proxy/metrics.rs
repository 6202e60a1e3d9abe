//! What the road counts: connections, handshakes, RPCs, refusals. [`upstream`](super::upstream)
//! counts the exchanges with noded in a struct of its own.
//!
//! It must never decide anything: nothing reads a counter back but the admin listener.

use rules::authz::Denied;
use rules::policy::List;
use rules::procedures::Label;
use rules::{Named, named};

use crate::metrics::{
    ByCode, Counter, Counters, FloatGauge, Gauge, Histogram, Histograms, Maker, Pairs,
};
use crate::proxy::http::Refusal;
use crate::proxy::reason::Reason;
use crate::tls::Version;
use crate::trust;

named! {
    /// How the handshake phase of a connection ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Outcome {
        /// The peer was admitted, and sent a request.
        Admitted = "admitted",
        /// The peer was admitted, and left or was silent.
        NoRequest = "no_request",
        /// It was refused.
        Rejected = "rejected",
        /// The client connected and closed without a byte, as Ganeti does to see whether a node is
        /// up.
        Ping = "ping",
    }
}

named! {
    /// What became of a call that the RPC policy forbids.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Forbidden {
        /// It was refused.
        Refused = "refused",
        /// It was forwarded all the same (`policy.audit`).
        Audit = "audit",
    }
}

named! {
    /// What was cut short because its peer left the map.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Terminated {
        /// An open connection.
        Connection = "connection",
        /// A request whose body was still coming.
        Body = "body",
        /// A request that waited for a slot.
        Queued = "queued",
    }
}

/// The handles, of connections here and of their requests below.
#[derive(Debug)]
pub struct Metrics {
    pub(super) connections: Counters<Outcome>,
    rejected: Counters<Reason>,
    pub(super) pings: Counter,
    pub(crate) open: Gauge,
    pub(crate) handshakes: Gauge,
    pub(super) handshake_duration: Histogram,
    pub(super) tls_versions: Counters<Version>,
    pub(super) outside_validity: Counter,
    pub(super) misplaced: Counters<Denied>,
    pub(super) audited: Counters<Denied>,
    pub(super) used_by_another_node: Counter,
    /// By the rule's reason.
    pub(super) terminated: Pairs<Denied, Terminated>,
    /// End of validity of the last admitted peer's certificate.
    pub(super) peer_not_after: FloatGauge,
    pub(super) requests: Requests,
}

/// The handles of requests.
#[derive(Debug)]
pub(super) struct Requests {
    rpcs: ByCode<Label>,
    rpc_duration: Histograms<Label>,
    pub(super) refused: Counters<Refusal>,
    pub(super) policy_forbidden: Pairs<List, Forbidden>,
}

impl Metrics {
    /// Calls that the RPC policy refused, and those that it only counted.
    pub(crate) fn forbidden(&self) -> (u64, u64) {
        let of = |outcome: Forbidden| {
            let pair = |list| self.requests.policy_forbidden.of(list, outcome).get();
            List::all().map(pair).sum()
        };
        (of(Forbidden::Refused), of(Forbidden::Audit))
    }

    pub(crate) fn new(make: &mut Maker, trust: &trust::Metrics) -> Self {
        Self {
            connections: make.counters(
                "connections_total",
                "Client connections by result",
                "result",
            ),
            rejected: make.counters(
                "rejected_connections_total",
                "Client connections refused before a request, by reason",
                "reason",
            ),
            pings: make.counter(
                "tcp_pings_total",
                "Connections closed by the client without a byte",
            ),
            open: make.gauge("connections_open", "Open client connections"),
            handshakes: make.gauge("handshakes_open", "Unfinished TLS handshakes"),
            handshake_duration: make.histogram(
                "handshake_duration_seconds",
                "Duration of completed TLS handshakes",
            ),
            tls_versions: make.counters(
                "tls_connections_total",
                "Admitted connections by TLS version",
                "version",
            ),
            outside_validity: make.counter(
                "admitted_outside_validity_total",
                "Connections admitted with an expired or not yet valid certificate",
            ),
            misplaced: make.counters_of(
                "misplaced_peers_total",
                "Connections whose address does not fit, admitted by bind_peer = warn, by reason",
                "reason",
                &Denied::PLACES,
            ),
            audited: make.counters(
                "audit_refusals_total",
                "Connections admitted in audit mode that enforce would have refused, by reason",
                "reason",
            ),
            used_by_another_node: make.counter(
                "certificate_used_by_another_node_total",
                "Certificates first seen from an additional node",
            ),
            terminated: make.pairs(
                "terminated_total",
                "What was cut short because its peer is no longer admitted, by reason",
                ["reason", "what"],
            ),
            peer_not_after: trust.not_after.of(trust::Certificate::LastAdmittedPeer),
            requests: Requests::new(make),
        }
    }

    /// Counts an RPC that has ended.
    pub(crate) fn count_rpc(&self, procedure: Label, code: u16, seconds: f64) {
        self.requests.rpcs.of(procedure, code).inc();
        self.requests.rpc_duration.of(procedure).observe(seconds);
    }

    /// How many connections were refused for this reason, for reports.
    pub(crate) fn rejections(&self, reason: Reason) -> u64 {
        self.rejected.of(reason).get()
    }

    /// Counts a connection that was refused before any request.
    pub(super) fn reject(&self, reason: Reason) {
        self.rejected.of(reason).inc();
        self.connections.of(Outcome::Rejected).inc();
    }
}

impl Requests {
    fn new(make: &mut Maker) -> Self {
        Self {
            rpcs: make.by_code(
                "rpcs_total",
                "RPCs by procedure and HTTP status",
                "procedure",
            ),
            rpc_duration: make.histograms(
                "rpc_duration_seconds",
                "RPC duration, from the head of the request to the last byte of the reply",
                "procedure",
            ),
            refused: make.counters(
                "refused_requests_total",
                "Requests refused because of the request or of its sender, by reason",
                "reason",
            ),
            policy_forbidden: make.pairs(
                "policy_forbidden_total",
                "Calls that the RPC policy forbids, by list of rules and outcome (refused, audit)",
                ["list", "outcome"],
            ),
        }
    }
}
