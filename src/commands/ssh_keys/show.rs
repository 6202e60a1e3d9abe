//! The plan as text: what goes with its proof, what stays and why somebody should know. All that
//! nodes have said is escaped and bounded: hooks have it in the journal. It decides nothing.

use std::fmt::Write;

use crate::daemon::report::words::count;
use rules::shown::printable;
use rules::ssh_keys::sight::Line;
use rules::ssh_keys::{Fate, Node, Plan, pairs};

/// Rows of one kind that are shown of one node; the others are counted.
const MOST: usize = 200;

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
    let more = |word: &str, all: usize| {
        let more = all.saturating_sub(MOST);
        (more > 0).then(|| row(word, format!("{more} more"), String::new()))
    };
    let removed = node.remove.iter().take(MOST);
    rows.extend(removed.map(|(line, proof)| row("remove", shown(line), proof.to_string())));
    rows.extend(more("remove", node.remove.len()));
    let told = node.told.iter().take(MOST);
    rows.extend(told.map(|(line, why)| row("keep", shown(line), why.to_string())));
    rows.extend(more("keep", node.told.len()));
    rows.extend(node.backups.iter().take(MOST).map(|backup| {
        let word = match backup.fate {
            Fate::Delete => "delete",
            Fate::Young | Fate::Present | Fate::Proof => "keep",
        };
        row(word, printable(&backup.file), backup.fate.to_string())
    }));
    rows.extend(more("backups:", node.backups.len()));
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
        rows.push("settle   a change that was begun and not proven".into());
    }
    let more = |all: usize| {
        let more = all.saturating_sub(MOST);
        (more > 0).then(|| format!("and      {more} more"))
    };
    rows.extend(node.needs.iter().take(MOST).map(ToString::to_string));
    rows.extend(more(node.needs.len()));
    let allowed = node.allowed.iter().take(MOST);
    rows.extend(allowed.map(|line| {
        format!(
            "keep     {}\n           verify.allow_ssh_keys has it",
            shown(line)
        )
    }));
    rows.extend(more(node.allowed.len()));
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
