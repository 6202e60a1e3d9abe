//! The report for people: a table of the nodes, then each finding once with the nodes that it is on.
//! It only shows.

use std::collections::BTreeMap;

use super::report::{How, Node, Report};
use crate::commands::table::{Table, terminal_width};
use crate::daemon::report::words::count;
use rules::Named;
use rules::verify::{Finding, Severity};

/// All of it.
pub(super) fn render(report: &Report) -> String {
    let mut text = table(&report.nodes);
    text += &findings(report);
    for node in report.nodes.iter().filter(|node| node.left_out() > 0) {
        let (more, name) = (node.left_out(), &node.name);
        text += &format!("{name}: {more} more: noded-proxy verify there shows them\n");
    }
    text += &not_looked_at(&report.nodes);
    let (nodes, seen) = (report.nodes.len(), report.seen());
    let errors = count(report.count(Severity::Error), "error");
    let warnings = count(report.count(Severity::Warning), "warning");
    text + &format!(
        "{}: {}, {seen} seen: {errors}, {warnings}\n",
        report.cluster,
        count(nodes, "node")
    )
}

/// The worst first; of those without a finding only the number.
fn table(nodes: &[Node]) -> String {
    let is_good = |node: &Node| node.is_seen() && node.errors + node.warnings == 0;
    let mut shown: Vec<&Node> = nodes.iter().filter(|node| !is_good(node)).collect();
    let good = nodes.len() - shown.len();
    shown.sort_by_key(|node| {
        let (errors, warnings) = (usize::MAX - node.errors, usize::MAX - node.warnings);
        (errors, warnings, &node.name)
    });
    let mut table = Table::new();
    if !shown.is_empty() {
        table.row(["node", "errors", "warnings", "looked at"]);
    }
    for node in shown {
        let [errors, warnings] = [node.errors, node.warnings].map(|number| number.to_string());
        let how = match node.how {
            How::Here => "here",
            How::Program => "by its noded-proxy",
            How::Files => "by its files, over ssh",
            How::Unseen | How::Offline => "no",
        };
        let offline = match (node.is_offline, node.how) {
            (false, _) => "",
            (true, How::Offline) => ": offline",
            (true, _) => " (offline)",
        };
        let how = format!("{how}{offline}");
        table.row([&node.name, &errors, &warnings, &how]);
    }
    let text = table.render(terminal_width());
    match good {
        0 => text + "\n",
        good => text + &format!("{}: nothing found\n\n", count(good, "node")),
    }
}

/// Each finding with all nodes that have it; below the last one of a kind why and what to do.
fn findings(report: &Report) -> String {
    let mut groups: BTreeMap<&Finding, Vec<&str>> = BTreeMap::new();
    for (found, node) in report.findings() {
        let names = groups.entry(found).or_default();
        names.extend(node.map(|node| node.name.as_str()));
    }
    let mut text = String::new();
    let mut groups = groups.into_iter().peekable();
    while let Some((found, names)) = groups.next() {
        let (severity, id) = (found.severity.name(), found.id.name());
        text += &format!("{severity:<8} {id}: {}: {}\n", found.subject, found.what);
        match names.as_slice() {
            [] => {}
            [name] if *name == found.subject => {}
            all if all.len() == report.seen() && all.len() > 2 => {
                text += "         on:  all nodes that were looked at\n";
            }
            some => text += &format!("         on:  {}\n", some.join(", ")),
        }
        if groups.peek().is_none_or(|(next, _)| next.id != found.id) {
            text += &format!("         why: {}\n", found.why);
            text += &format!("         do:  {}\n", found.remedy);
        }
    }
    text
}

fn not_looked_at(nodes: &[Node]) -> String {
    let mut groups: BTreeMap<&[&str], Vec<&str>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| !node.not_looked_at.is_empty()) {
        groups
            .entry(&node.not_looked_at)
            .or_default()
            .push(&node.name);
    }
    let lines = groups.into_iter();
    let lines = lines.map(|(what, names)| {
        let (what, names) = (what.join(", "), names.join(", "));
        format!("not looked at: {what}, on {names}\n")
    });
    lines.collect()
}
