//! The report as one line for Nagios. Only printable ASCII gets into it.

use super::super::line::{part, without_bar};
use super::report::Report;
use crate::daemon::report::words::count;
use rules::Named;
use rules::verify::{Finding, Severity};

/// Kinds of findings that are named in it.
const NAMED: usize = 3;

/// `VERIFY STATE - text | numbers`, and 0, 1 or 2.
pub(super) fn nagios(report: &Report) -> (String, u8) {
    let [errors, warnings] = [Severity::Error, Severity::Warning].map(|of| report.count(of));
    let (state, status) = match (errors, warnings) {
        (1.., _) => ("CRITICAL", 2),
        (0, 1..) => ("WARNING", 1),
        (0, 0) => ("OK", 0),
    };
    let (nodes, seen) = (report.nodes.len(), report.seen());
    let mut text = format!(
        "{}, {seen} seen: {}, {}",
        count(nodes, "node"),
        count(errors, "error"),
        count(warnings, "warning")
    );
    let mut worst: Vec<(&Finding, String)> = report
        .findings()
        .map(|(found, node)| {
            let on = node.map_or(&report.cluster, |node| &node.name);
            (
                found,
                part(&format!("{} on {on}: {}", found.id.name(), found.what)),
            )
        })
        .collect();
    // One of each kind: a node with many findings hides no other kind.
    worst.sort_by_key(|(found, _)| (found.severity, found.id));
    worst.dedup_by_key(|(found, _)| found.id);
    if !worst.is_empty() {
        let first: Vec<&str> = worst
            .iter()
            .take(NAMED)
            .map(|(_, told)| told.as_str())
            .collect();
        text += &format!(": {}", first.join("; "));
    }
    let text = without_bar(&format!("{}: {text}", part(&report.cluster)));
    let numbers = format!("nodes={nodes} seen={seen} errors={errors};;0 warnings={warnings};0");
    (format!("VERIFY {state} - {text} | {numbers}"), status)
}
