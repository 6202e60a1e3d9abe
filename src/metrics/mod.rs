//! The metric handles and their names, which are an interface: the README's table is tested against them.
//!
//! Handles are made once and passed in; there are no globals. Labels come from closed lists: never an
//! address, a digest or a raw path.

mod maker;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use crate::daemon::sandbox::Report;
use crate::trust::{CaList, Source};
use maker::Maker;
use rules::authz::{Denied, Mode};
use rules::candidates::MapFile;
use rules::policy::List;

/// Why a connection or request was refused before noded saw it, beyond [`Denied::REASONS`].
pub mod reason {
    /// The client sent no certificate.
    pub const NO_CERTIFICATE: &str = "no_certificate";
    /// The handshake failed for another reason (versions, ciphers, not TLS, bad signature).
    pub const PROTOCOL_ERROR: &str = "protocol_error";
    /// The handshake took too long.
    pub const HANDSHAKE_TIMEOUT: &str = "handshake_timeout";
    /// The client went away in the middle of the handshake.
    pub const PEER_CLOSED: &str = "peer_closed";
    /// Too many connections, or too many unfinished handshakes.
    pub const OVER_LIMIT: &str = "over_limit";
    /// There is no `server.pem` and the port is held by the service manager.
    pub const NOT_IN_CLUSTER: &str = "not_in_cluster";
    /// All of the above.
    pub const ALL: [&str; 6] = [
        NO_CERTIFICATE,
        PROTOCOL_ERROR,
        HANDSHAKE_TIMEOUT,
        PEER_CLOSED,
        OVER_LIMIT,
        NOT_IN_CLUSTER,
    ];
}

/// Upper bounds of duration buckets, in seconds: from a digest look-up to a day-long RPC.
const DURATIONS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0,
    3_600.0, 86_400.0,
];

/// One row of the README's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Metric name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names.
    pub labels: Vec<String>,
    /// What it counts.
    pub help: String,
}

/// All handles.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    rows: Vec<Row>,
    /// Accepted TCP connections that have ended their handshake phase, by result.
    pub connections: IntCounterVec,
    /// Refused connections by reason.
    pub rejected: IntCounterVec,
    /// Connections that were closed without a byte.
    pub pings: IntCounter,
    /// Open client connections.
    pub open: IntGauge,
    /// Unfinished handshakes.
    pub handshakes: IntGauge,
    /// Duration of completed handshakes.
    pub handshake_duration: Histogram,
    /// Admitted connections by TLS version.
    pub tls_versions: IntCounterVec,
    /// Admissions of certificates outside their validity.
    pub outside_validity: IntCounter,
    /// RPCs by procedure and HTTP status.
    pub rpcs: IntCounterVec,
    /// RPC duration by procedure, head of the request to the last byte of the reply.
    pub rpc_duration: HistogramVec,
    /// Bytes of bodies by direction.
    pub body_bytes: IntCounterVec,
    /// Refused requests by reason.
    pub refused: IntCounterVec,
    /// Calls that the RPC policy forbids, by list and outcome.
    pub policy_forbidden: IntCounterVec,
    /// Wait for a slot.
    pub queue_duration: Histogram,
    /// Requests that wait for a slot now.
    pub queue_length: IntGauge,
    /// Connections to noded in use now.
    pub slots_in_use: IntGauge,
    /// Connections to noded that may be in use.
    pub slots: IntGauge,
    /// Warm connections that wait to be used.
    pub warm_connections: IntGauge,
    /// Warm connections that nobody used.
    pub warm_spent: IntCounter,
    /// Connections to noded: opened, and of these used warm.
    pub upstream_connections: IntCounterVec,
    /// 1 while noded can be reached.
    pub upstream_up: IntGauge,
    /// Failed calls to noded by kind.
    pub upstream_errors: IntCounterVec,
    /// 1 for the state in which the map file was found last.
    pub map_state: IntGaugeVec,
    /// Entries of the map in force.
    pub map_entries: IntGauge,
    /// 1 while the file is faulty and an older map is in force.
    pub map_stale: IntGauge,
    /// When the map in force was read.
    pub map_last_good: Gauge,
    /// Published changes of map or identity.
    pub reloads: IntCounter,
    /// Faulty files by file.
    pub reload_failures: IntCounterVec,
    /// Candidate certificates that are known, by where from.
    pub known_certificates: IntGaugeVec,
    /// Candidates whose certificate is not known.
    pub unknown_certificates: IntGauge,
    /// Names in the client CA list.
    pub client_ca_names: IntGauge,
    /// 1 for the state of the client CA list.
    pub client_ca_state: IntGaugeVec,
    /// 1 for the mode in effect.
    pub mode: IntGaugeVec,
    /// Connections that audit mode admitted and enforce would have refused, by reason.
    pub audited: IntCounterVec,
    /// Connections that `bind_peer = "warn"` admitted, by what did not fit.
    pub misplaced: IntCounterVec,
    /// Certificates found to be used by another node.
    pub used_by_another_node: IntCounter,
    /// Ends of validity.
    pub not_after: GaugeVec,
    /// 1 while draining.
    pub draining: IntGauge,
    /// 1 for each layer of the sandbox that is in force.
    pub sandbox: IntGaugeVec,
    /// 1 with `tls.legacy`.
    pub legacy: IntGauge,
}

impl Metrics {
    /// Makes and registers all handles; every label value of a closed list is there from the start.
    pub fn new() -> Self {
        let mut make = Maker::default();
        let denied = || Denied::REASONS.into_iter();
        let rejected: Vec<&str> = denied().chain(reason::ALL).collect();
        let refused: Vec<&str> = denied()
            .chain(crate::proxy::http::Refusal::REASONS)
            .collect();
        let policy_forbidden = make.counter_pairs(
            "policy_forbidden_total",
            "Calls that the RPC policy forbids, by list of rules and outcome (refused, audit)",
            &["list", "outcome"],
        );
        for list in List::NAMES {
            for outcome in ["refused", "audit"] {
                policy_forbidden.with_label_values(&[list, outcome]);
            }
        }
        let build = make.gauges("build_info", "Always 1", &["version", "tls_library"]);
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), crate::tls::library()])
            .set(1);
        Self {
            connections: make.counters(
                "connections_total",
                "Client connections by result",
                "result",
                &["admitted", "rejected", "ping"],
            ),
            rejected: make.counters(
                "rejected_connections_total",
                "Client connections refused before a request, by reason",
                "reason",
                &rejected,
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
                &["TLSv1.3", "TLSv1.2", "older"],
            ),
            outside_validity: make.counter(
                "admitted_outside_validity_total",
                "Connections admitted with an expired or not yet valid certificate",
            ),
            rpcs: make.counter_pairs(
                "rpcs_total",
                "RPCs by procedure and HTTP status",
                &["procedure", "code"],
            ),
            rpc_duration: make.histograms(
                "rpc_duration_seconds",
                "RPC duration, from its head to the last byte of the reply",
                &["procedure"],
            ),
            body_bytes: make.counters(
                "body_bytes_total",
                "Bytes of request bodies sent to noded and of reply bodies sent to clients",
                "direction",
                &["request", "reply"],
            ),
            refused: make.counters(
                "refused_requests_total",
                "Requests answered by the proxy itself because of the request, by reason",
                "reason",
                &refused,
            ),
            policy_forbidden,
            queue_duration: make.histogram("queue_duration_seconds", "Wait of RPCs for a slot"),
            queue_length: make.gauge("queue_length", "RPCs that wait for a slot"),
            slots_in_use: make.gauge(
                "slots_in_use",
                "Slots taken: running RPCs and warm connections",
            ),
            slots: make.gauge(
                "slots",
                "Connections to noded that may be in use (max_clients)",
            ),
            warm_connections: make.gauge(
                "warm_connections",
                "Connections to noded opened in advance that wait to be used",
            ),
            warm_spent: make.counter(
                "warm_spent_total",
                "Connections opened in advance that nobody used, spent on a version call",
            ),
            upstream_connections: make.counters(
                "upstream_connections_total",
                "Connections to noded: opened, and of these used by an RPC when warm",
                "kind",
                &["opened", "warm"],
            ),
            upstream_up: make.gauge(
                "upstream_up",
                "1 unless noded could not be reached at the last contact",
            ),
            upstream_errors: make.counters(
                "upstream_errors_total",
                "Failed calls to noded, by kind",
                "kind",
                &crate::proxy::upstream::Error::KINDS,
            ),
            map_state: make.gauge_vec(
                "candidate_map_state",
                "1 for the state in which the candidate map file was found last",
                "state",
                &MapFile::STATES,
            ),
            map_entries: make.gauge(
                "candidate_map_entries",
                "Entries of the candidate map in force",
            ),
            map_stale: make.gauge(
                "candidate_map_stale",
                "1 while the file is faulty and the last good map is in force",
            ),
            map_last_good: make.float_gauge(
                "candidate_map_last_good_timestamp_seconds",
                "When the candidate map in force was read, 0 for never",
            ),
            reloads: make.counter("reloads_total", "Published changes of map or server.pem"),
            reload_failures: make.counters(
                "reload_failures_total",
                "Files found faulty, by file",
                "file",
                &[
                    "candidate_map",
                    "server_pem",
                    "ssconf",
                    "candidate_certificates",
                    "state",
                ],
            ),
            known_certificates: make.gauge_vec(
                "known_certificates",
                "Candidates whose certificate is known, by where it is known from",
                "source",
                &Source::NAMES,
            ),
            unknown_certificates: make.gauge(
                "unknown_certificates",
                "Candidates whose certificate is not known",
            ),
            client_ca_names: make.gauge(
                "client_ca_list_names",
                "Names in the client CA list, 0 for the empty list that suits any client",
            ),
            client_ca_state: make.gauge_vec(
                "client_ca_list_state",
                "1 for the state of the client CA list",
                "state",
                &CaList::STATES,
            ),
            mode: make.gauge_vec("mode", "1 for the mode in effect", "mode", &Mode::NAMES),
            audited: make.counters(
                "audit_refusals_total",
                "Connections admitted in audit mode that enforce would have refused, by reason",
                "reason",
                &Denied::REASONS,
            ),
            misplaced: make.counters(
                "misplaced_peers_total",
                "Connections admitted with bind_peer = warn whose address does not fit, by reason",
                "reason",
                &Denied::PLACES,
            ),
            used_by_another_node: make.counter(
                "certificate_used_by_another_node_total",
                "Times that a certificate was first seen from one more node",
            ),
            not_after: make.float_gauges(
                "certificate_not_after_timestamp_seconds",
                "End of validity of server.pem and of the peer admitted last",
                "certificate",
                &["server_pem", "last_admitted_peer"],
            ),
            draining: make.gauge("draining", "1 while the proxy drains"),
            sandbox: make.gauge_vec(
                "sandbox",
                "1 for each layer of the process's own sandbox that is in force",
                "layer",
                &Report::default().layers().map(|(layer, _)| layer),
            ),
            legacy: make.gauge("tls_legacy", "1 when tls.legacy weakens TLS"),
            registry: make.finish(),
            rows: make.rows,
        }
    }

    /// The registry, for `/metrics`.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics of our own, for the README's table.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The text that `/metrics` answers with (Prometheus text format 0.0.4).
    pub fn render(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Counts a connection that was refused before any request.
    pub fn reject(&self, reason: &str) {
        self.rejected.with_label_values(&[reason]).inc();
        self.connections.with_label_values(&["rejected"]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_once_and_shown() {
        let metrics = Metrics::new();
        metrics.rpcs.with_label_values(&["version", "200"]).inc();
        metrics
            .rpc_duration
            .with_label_values(&["version"])
            .observe(0.03);
        let text = metrics.render();
        for row in metrics.rows() {
            let shown = text
                .matches(&format!("# TYPE {} {}\n", row.name, row.kind))
                .count();
            assert_eq!(shown, 1, "{}", row.name);
        }
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(
            text.contains("noded_proxy_rejected_connections_total{reason=\"unknown_digest\"} 0")
        );
    }

    #[test]
    fn the_readme_has_the_table_of_all_metrics() {
        let metrics = Metrics::new();
        let table: String = metrics
            .rows()
            .iter()
            .map(|r| {
                format!(
                    "| `{}` | {} | {} | {} |\n",
                    r.name,
                    r.kind,
                    r.labels.join(", "),
                    r.help
                )
            })
            .collect();
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(&table),
            "README.md must have these lines:\n{table}"
        );
    }
}
