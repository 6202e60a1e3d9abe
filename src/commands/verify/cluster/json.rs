//! The report as a document. Its keys are an interface. It only shows.

use serde_json::{Value, json};

use super::report::{Node, Report};
use rules::Named;
use rules::verify::Severity;

/// All of it; each finding as in the document of one node.
pub(super) fn document(report: &Report) -> Value {
    json!({
        "cluster": report.cluster,
        "master": report.master,
        "at": report.at,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "nodes": report.nodes.iter().map(node).collect::<Vec<_>>(),
        "findings": report.in_common,
    })
}

fn node(node: &Node) -> Value {
    json!({
        "node": node.name,
        "looked_at": node.how.name(),
        "offline": node.is_offline,
        "could_not_look_at": node.not_looked_at,
        "errors": node.errors,
        "warnings": node.warnings,
        "left_out": node.left_out(),
        "findings": node.findings,
    })
}
