//! The plan as text: what goes with its proof, what stays and why somebody should know. All that
//! nodes have said is escaped. It decides nothing.

use std::fmt::Write;

use crate::daemon::report::words::count;
use rules::shown::printable;
use rules::ssh_keys::sight::Line;
use rules::ssh_keys::{Fate, Node, Plan, pairs};

/// The whole plan.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    plan.nodes.iter().for_each(|node| add(&mut text, node));
    let lines: usize = plan.nodes.iter().map(|node| node.remove.len()).sum();
    let backups: usize = plan.nodes.iter().map(|node| node.delete().count()).sum();
    let left = plan.nodes.iter().filter(|node| node.refused.is_some());
    let (lines, backups) = (count(lines, "line"), count(backups, "backup"));
    let _ = write!(text, "{lines} to remove, {backups} to delete");
    let _ = match left.count() {
        0 => writeln!(text),
        left => writeln!(text, "; {} left out", count(left, "node")),
    };
    text
}

fn add(text: &mut String, node: &Node) {
    let mut rows: Vec<[String; 3]> = Vec::new();
    if let Some(why) = &node.refused {
        rows.push(["left out".into(), printable(why), String::new()]);
    }
    let row = |word: &str, what, why: String| [word.to_owned(), what, why];
    rows.extend(
        node.remove
            .iter()
            .map(|(line, proof)| row("remove", shown(line), proof.to_string())),
    );
    rows.extend(
        node.told
            .iter()
            .map(|(line, why)| row("keep", shown(line), why.to_string())),
    );
    rows.extend(node.backups.iter().map(|backup| {
        let word = match backup.fate {
            Fate::Delete => "delete",
            Fate::Young | Fate::Present | Fate::Proof => "keep",
        };
        row(word, printable(&backup.file), backup.fate.to_string())
    }));
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", printable(&node.name));
    for [word, what, why] in rows {
        let _ = match why.as_str() {
            "" => writeln!(text, "  {word:<8} {what}"),
            why => writeln!(text, "  {word:<8} {what}\n           {why}"),
        };
    }
}

/// What a node needs where Ganeti does not manage the keys.
pub(super) fn pairs_of(text: &mut String, node: &pairs::Node, is_unsettled: bool) {
    let mut rows: Vec<String> = Vec::new();
    if let Some(why) = &node.refused {
        rows.push(format!("left out {}", printable(why)));
    }
    if is_unsettled {
        rows.push("undo     a change that was begun and not proven".into());
    }
    rows.extend(node.needs.iter().map(ToString::to_string));
    let allowed = node.allowed.iter();
    rows.extend(allowed.map(|line| {
        format!(
            "keep     {}\n           verify.allow_ssh_keys has it",
            shown(line)
        )
    }));
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", printable(&node.name));
    for row in rows {
        let _ = writeln!(text, "  {row}");
    }
}

fn shown(line: &Line) -> String {
    let (path, comment) = (printable(&line.path), printable(&line.comment));
    format!("{path} line {}: {} {comment}", line.number, line.key)
}
