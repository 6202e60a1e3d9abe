//! All metrics of the daemon: one maker makes those of each room, and the registry shows them
//! together.
//!
//! A room is given its own struct and no other. Names, label names and label values are an
//! interface that dashboards and alerts use: `docs/metrics.md` lists them, and a test compares the
//! two. It must never ask a room for its numbers: rooms count by themselves, and the admin listener
//! asks slots and bodies for theirs at each scrape.

use std::sync::Arc;

use rules::Named;
use rules::authz::Mode;
use rules::policy;

use crate::daemon::handover::Holds;
use crate::daemon::report::{Health, Kind};
use crate::daemon::sandbox::Layer;
use crate::daemon::slot_gauges::SlotGauges;
use crate::metrics::{Counter, Gauge, Gauges, Maker, Registry, Row};
use crate::proxy::http::Bodies;
use crate::proxy::upstream::{self, Load};
use crate::{proxy, trust};

/// The metrics of all rooms.
#[derive(Debug)]
pub struct Metrics {
    /// For the reloader.
    pub trust: Arc<trust::Metrics>,
    /// For the road.
    pub proxy: Arc<proxy::Metrics>,
    /// For the exchanges with noded.
    pub upstream: Arc<upstream::Metrics>,
    pub(super) mode: Gauges<Mode>,
    pub(super) policy: Gauges<policy::State>,
    pub(super) draining: Gauge,
    pub(super) sandbox: Gauges<Layer>,
    pub(super) legacy: Gauge,
    ready: Gauge,
    degraded: Gauges<Kind>,
    memory: Gauge,
    spool: Gauge,
    log_dropped: Counter,
    predecessors: Gauge,
    predecessor_slots: Gauge,
    predecessor_age: Gauge,
    slots: SlotGauges,
    registry: Registry,
}

impl Metrics {
    /// Makes the metrics of all rooms; each value of a closed label is shown from the start.
    pub fn new() -> Self {
        let mut make = Maker::default();
        let version = ("version", env!("CARGO_PKG_VERSION"));
        let library = ("tls_library", crate::tls::library());
        make.info("build_info", "Always 1", [version, library]);
        let trust = trust::Metrics::new(&mut make);
        Self {
            proxy: Arc::new(proxy::Metrics::new(&mut make, &trust)),
            upstream: Arc::new(upstream::Metrics::new(&mut make)),
            slots: SlotGauges::new(&mut make),
            ready: make.gauge("ready", "1 while the RPC port is open, as /healthz says it"),
            degraded: make.gauges(
                "degraded",
                "1 for each reason why somebody should look, as /healthz gives them",
                "reason",
            ),
            memory: make.gauge(
                "memory_bytes",
                "Memory taken by bodies of requests and replies (limits.memory)",
            ),
            spool: make.gauge(
                "spool_bytes",
                "Disk kept for long request bodies (limits.spool)",
            ),
            trust: Arc::new(trust),
            mode: make.gauges("mode", "1 for the mode in effect", "mode"),
            policy: make.gauges("policy", "1 for how the RPC policy stands", "state"),
            draining: make.gauge("draining", "1 while the proxy drains"),
            sandbox: make.gauges(
                "sandbox",
                "1 for each layer of the process's own sandbox that is in force",
                "layer",
            ),
            legacy: make.gauge("tls_legacy", "1 when tls.legacy weakens TLS"),
            log_dropped: make.counter(
                "log_lines_dropped_total",
                "Log lines that were lost because their reader had stalled",
            ),
            predecessors: make.gauge(
                "predecessors",
                "Processes that a reload replaced and that still serve",
            ),
            predecessor_slots: make.gauge(
                "predecessor_slots",
                "Connections to noded that they keep, about one for each running RPC",
            ),
            predecessor_age: make.gauge(
                "predecessor_age_seconds",
                "Seconds since the first of them was replaced, 0 while there is none",
            ),
            registry: make.finish(),
        }
    }

    /// All metrics, for the documentation.
    pub fn rows(&self) -> &[Row] {
        self.registry.rows()
    }

    /// The text that `/metrics` answers with.
    pub(super) fn render(&self) -> String {
        self.registry.render()
    }

    /// Counts the log lines that were lost until now.
    pub(super) fn set_log_dropped(&self, until_now: u64) {
        let counted = self.log_dropped.get();
        self.log_dropped.inc_by(until_now.saturating_sub(counted));
    }

    /// Sets who was replaced and still serves.
    pub(super) fn set_predecessors(&self, alive: &[Holds]) {
        self.predecessors.set(alive.len() as i64);
        let slots: usize = alive.iter().map(|one| one.slots).sum();
        self.predecessor_slots.set(slots as i64);
        let ages = alive.iter().map(|one| one.replaced_seconds_ago);
        self.predecessor_age.set(ages.max().unwrap_or(0) as i64);
    }

    /// Sets what `/healthz` says now.
    pub(super) fn set_health(&self, health: &Health) {
        self.ready.set(i64::from(health.ready));
        for kind in Kind::all() {
            let is_so = health.kinds().any(|found| found == kind);
            self.degraded.of(kind).set(i64::from(is_so));
        }
    }

    /// Sets the numbers of slots and bodies to what is so now.
    pub(super) fn set_load(&self, load: Load, bodies: &Bodies) {
        self.memory.set(bodies.memory_in_use() as i64);
        self.spool.set(bodies.spool_in_use() as i64);
        let slots = &self.slots;
        slots.most.set(load.most as i64);
        slots.in_use.set(load.in_use as i64);
        slots.waiting.set(load.waiting as i64);
        slots.warm.set(load.warm as i64);
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
    use rules::Named;
    use rules::procedures::label;
    use std::collections::BTreeSet;

    const DOCS: &str = include_str!("../../docs/metrics.md");

    /// A label with more values than this is described in words.
    const MOST_LISTED: usize = 32;

    #[test]
    fn every_metric_is_registered_once_and_shown() {
        let metrics = Metrics::new();
        metrics.proxy.count_rpc(label("version"), 200, 0.03);
        let text = metrics.render();
        for row in metrics.rows() {
            let shown = text
                .matches(&format!("# TYPE {} {}\n", row.name, row.kind))
                .count();
            assert_eq!(shown, 1, "{}", row.name);
        }
        let names: BTreeSet<&str> = metrics.rows().iter().map(|row| &*row.name).collect();
        assert_eq!(names.len(), metrics.rows().len(), "a name twice");
        assert!(text.contains("process_resident_memory_bytes"));
    }

    #[test]
    fn every_value_of_a_closed_label_is_shown_from_the_start() {
        let metrics = Metrics::new();
        let text = metrics.render();
        for row in metrics.rows() {
            let [label] = &row.labels[..] else { continue };
            let values = label.values.iter().flatten();
            for value in values.filter(|_| label.name != "procedure") {
                let series = format!("{}{{{}=\"{value}\"}} 0\n", row.name, label.name);
                assert!(text.contains(&series), "{series}");
            }
        }
        let pair = "policy_forbidden_total{list=\"deny\",outcome=\"audit\"} 0\n";
        assert!(text.contains(pair));
    }

    #[test]
    fn no_label_has_two_values_of_one_name() {
        let metrics = Metrics::new();
        for row in metrics.rows() {
            for values in row.labels.iter().filter_map(|label| label.values.as_ref()) {
                let distinct = BTreeSet::from_iter(values);
                assert_eq!(distinct.len(), values.len(), "{}: {values:?}", row.name);
            }
        }
    }

    #[test]
    fn the_labels_of_refusals_are_those_of_the_rule_and_of_the_road() {
        let metrics = Metrics::new();
        let values = |name: &str| {
            let row = metrics.rows().iter().find(|row| row.name == name);
            let values = row.and_then(|row| row.labels[0].values.clone());
            BTreeSet::from_iter(values.unwrap())
        };
        let denied = BTreeSet::from_iter(rules::authz::Denied::all().map(|why| why.name()));
        let audited = values("noded_proxy_audit_refusals_total");
        assert_eq!(audited, denied);
        assert!(values("noded_proxy_rejected_connections_total").is_superset(&denied));
        assert!(values("noded_proxy_refused_requests_total").is_superset(&denied));
        assert!(denied.is_superset(&values("noded_proxy_misplaced_peers_total")));
    }

    #[test]
    fn the_documentation_has_the_table_of_all_metrics() {
        let metrics = Metrics::new();
        let line = |row: &Row| {
            let labels: Vec<&str> = row.labels.iter().map(|label| label.name).collect();
            let labels = labels.join(", ");
            format!(
                "| `{}` | {} | {labels} | {} |\n",
                row.name, row.kind, row.help
            )
        };
        let table: String = metrics.rows().iter().map(line).collect();
        assert!(
            DOCS.contains(&table),
            "docs/metrics.md must have these lines:\n{table}"
        );
    }

    #[test]
    fn the_documentation_has_the_values_of_all_closed_labels() {
        let metrics = Metrics::new();
        let mut table = String::new();
        for row in metrics.rows() {
            for label in &row.labels {
                let values = label.values.clone().unwrap_or_default();
                if (1..=MOST_LISTED).contains(&values.len()) {
                    let (name, values) = (label.name, values.join("`, `"));
                    table += &format!("| `{}` | {name} | `{values}` |\n", row.name);
                } else {
                    let words = format!("\n- `{}` ", label.name);
                    assert!(
                        DOCS.contains(&words),
                        "docs/metrics.md must say what {words} is"
                    );
                }
            }
        }
        assert!(
            DOCS.contains(&table),
            "docs/metrics.md must have these lines:\n{table}"
        );
    }
}
