//! The file of `--metrics` for the whole cluster. Nodes are those that the master knows: no node
//! brings a label about.

use std::path::Path;

use super::report::Report;
use crate::metrics::Maker;
use rules::verify::{Id, Severity};

/// Writes the numbers of a look.
pub(super) fn write(path: &Path, report: &Report) -> Result<(), String> {
    super::super::metrics::replace(path, &text(report))
}

fn text(report: &Report) -> String {
    let mut maker = Maker::default();
    let at = maker.gauge(
        "verify_cluster_timestamp_seconds",
        "When verify looked at the cluster, in seconds since 1970.",
    );
    let findings = maker.gauges::<Id>(
        "verify_cluster_findings",
        "Findings of verify on all nodes, by id.",
        "id",
    );
    at.set(report.at);
    for (found, _) in report.findings() {
        findings.of(found.id).inc();
    }
    let names: Vec<&str> = report.nodes.iter().map(|node| node.name.as_str()).collect();
    let seen = maker.gauges_of_nodes(
        "verify_cluster_node_seen",
        "1 if verify could look at the node.",
        &names,
    );
    let errors = maker.gauges_of_nodes(
        "verify_cluster_node_errors",
        "Errors that verify found on the node.",
        &names,
    );
    let warnings = maker.gauges_of_nodes(
        "verify_cluster_node_warnings",
        "Warnings of verify on the node.",
        &names,
    );
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    for (at, node) in report.nodes.iter().enumerate() {
        seen[at].set(i64::from(node.is_seen()));
        errors[at].set(number(node.errors));
        warnings[at].set(number(node.warnings));
    }
    let severities = maker.gauges::<Severity>(
        "verify_cluster_severity",
        "Findings of verify on all nodes, by severity.",
        "severity",
    );
    for severity in [Severity::Error, Severity::Warning] {
        severities.of(severity).set(number(report.count(severity)));
    }
    maker.finish_for_a_file().render()
}
