//! Numbers with the word that goes with them, and what `status` and `status --watch` say alike. It never
//! prints.

use super::{Report, times};
use crate::daemon::handover::Holds;
use rules::shown::inert_line;

/// `1 connection`, `2 connections`.
pub fn count(number: usize, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {one}s"),
    }
}

/// How many connections to noded may be in use, here and in the processes that were replaced.
pub fn slots_in_use(report: &Report) -> usize {
    let held = report.handover.predecessors.iter();
    let held = held.fold(0, |sum: usize, old| sum.saturating_add(old.slots));
    report.upstream.slots_in_use.saturating_add(held)
}

/// The same in words.
pub fn slots(report: &Report) -> String {
    let (noded, in_use) = (&report.upstream, slots_in_use(report));
    let held = match in_use - noded.slots_in_use {
        0 => String::new(),
        held => format!(", {held} of them by replaced processes"),
    };
    let (most, warm) = (noded.slots, noded.warm);
    format!("{in_use} of {most} slots in use{held} ({warm} warm)")
}

/// What a process that was replaced does.
pub fn replaced(old: &Holds) -> String {
    let ago = times::ago(Some(old.replaced_seconds_ago));
    let rpcs = count(old.slots, "RPC");
    format!("process {} finishes up to {rpcs}, replaced {ago}", old.pid)
}

/// Why the last reload failed, if it did.
pub fn failed_reload(report: &Report) -> Option<String> {
    let why = report.handover.failed.as_deref()?;
    Some(format!("failed: {}", inert_line(why)))
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_no_plural() {
        let table = [
            (0, "warning", "0 warnings"),
            (1, "warning", "1 warning"),
            (2, "warning", "2 warnings"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
        ];
        for (number, word, expected) in table {
            assert_eq!(count(number, word), expected);
        }
    }
}
