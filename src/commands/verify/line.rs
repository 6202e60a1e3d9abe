//! One line for programs: Ganeti's hook and Nagios. Only printable ASCII gets into it.

use super::looked::{COULD_NOT_LOOK, Looked};
use crate::daemon::report::words::count;
use rules::shown::ascii_line;
use rules::verify::{Finding, Severity};

/// Nagios: it cannot be told.
const UNKNOWN: u8 = 3;
/// Findings that are named in the line of Nagios.
const NAMED: usize = 3;
/// Findings, or paths, that are named in the line of the hook: Ganeti sends it to the master.
const NAMED_BY_HOOK: usize = 20;
/// Most characters of one of them.
const MOST_OF_PART: usize = 400;

/// Only errors: Ganeti makes an error of anything that a hook says. It names the node by its UUID
/// alone, so the line begins with the host.
pub(super) fn hook(looked: &Looked) -> (String, u8) {
    let host = &part(&looked.host);
    if !looked.unseen.is_empty() {
        let why = format!("cannot read {}", first(NAMED_BY_HOOK, &looked.unseen));
        return (unable(host, &why), COULD_NOT_LOOK);
    }
    let errors = looked.findings.iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    let errors: Vec<String> = errors.map(told).collect();
    match errors.is_empty() {
        true => (format!("{host}: noded-proxy verify: no errors"), 0),
        false => {
            let errors = first(NAMED_BY_HOOK, &errors);
            let line = format!("{host}: noded-proxy verify: {errors}");
            (ascii_line(&line), 1)
        }
    }
}

/// `VERIFY STATE - text | numbers`, and 0, 1, 2 or 3.
pub(super) fn nagios(looked: &Looked) -> (String, u8) {
    let (errors, warnings) = (
        looked.count(Severity::Error),
        looked.count(Severity::Warning),
    );
    let (state, status) = match (errors, warnings, looked.unseen.as_slice()) {
        (1.., _, _) => ("CRITICAL", 2),
        (_, _, [_, ..]) => ("UNKNOWN", UNKNOWN),
        (0, 1.., []) => ("WARNING", 1),
        (0, 0, []) => ("OK", 0),
    };
    let findings: Vec<String> = looked.findings.iter().map(told).collect();
    let mut text = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
    if !looked.unseen.is_empty() {
        text += &format!("; cannot read {}", first(NAMED, &looked.unseen));
    }
    if !findings.is_empty() {
        text += &format!(": {}", first(NAMED, &findings));
    }
    let text = without_bar(&format!("{}: {text}", part(&looked.host)));
    let numbers = format!("errors={errors};;0 warnings={warnings};0");
    (format!("VERIFY {state} - {text} | {numbers}"), status)
}

/// Why there was no look at all, for Nagios.
pub(super) fn unknown(host: &str, why: &str) -> (String, u8) {
    let why = part(&unable(host, why));
    (format!("VERIFY UNKNOWN - {why}"), UNKNOWN)
}

/// A bar begins the numbers of Nagios.
pub(super) fn without_bar(text: &str) -> String {
    ascii_line(text).replace('|', "/")
}

/// A text that somebody else may have chosen, as one part of a line: it begins neither another part
/// nor the numbers of Nagios, and leaves room for the others.
pub(super) fn part(text: &str) -> String {
    let safe = without_bar(text).replace(';', ",");
    match safe.len() > MOST_OF_PART {
        true => format!("{}...", &safe[..MOST_OF_PART]),
        false => safe,
    }
}

/// The first of them, and how many there are besides.
fn first(most: usize, all: &[String]) -> String {
    let named: Vec<String> = all.iter().take(most).map(|one| part(one)).collect();
    let named = named.join("; ");
    match all.len().saturating_sub(most) {
        0 => named,
        more => format!("{named}; {more} more"),
    }
}

/// Why there was no look at all.
pub(super) fn unable(host: &str, why: &str) -> String {
    ascii_line(&format!("{host}: noded-proxy verify could not look: {why}"))
}

fn told(found: &Finding) -> String {
    let Finding {
        id, subject, what, ..
    } = found;
    format!("{} ({subject}): {what}", rules::Named::name(id))
}

#[cfg(test)]
mod tests {
    use super::super::looked::tests::looked;
    use super::*;
    use rules::verify::Id;

    #[test]
    fn the_hook_says_errors_alone() {
        let good = "n1: noded-proxy verify: no errors";
        assert_eq!(hook(&looked(&[], &[])), (good.into(), 0));
        assert_eq!(hook(&looked(&[Id::SshStranger], &[])), (good.into(), 0));
        let (line, status) = hook(&looked(&[Id::ClientStolen, Id::SshStranger], &[]));
        assert_eq!(status, 1);
        let expected = "n1: noded-proxy verify: client_stolen (subject): what";
        assert_eq!(line, expected);
        let (line, status) = hook(&looked(&[Id::ClientStolen], &["/root/\u{e9}\n"]));
        let expected = "n1: noded-proxy verify could not look: cannot read /root/? ";
        assert_eq!((line.as_str(), status), (expected, 2));
    }

    #[test]
    fn nagios_as_a_table() {
        let (stolen, stranger) = (Id::ClientStolen, Id::SshStranger);
        for (ids, unseen, state, status) in [
            (&[][..], &[][..], "OK", 0),
            (&[stranger], &[], "WARNING", 1),
            (&[stolen, stranger], &[], "CRITICAL", 2),
            (&[], &["/x"], "UNKNOWN", 3),
            (&[stranger], &["/x"], "UNKNOWN", 3),
            (&[stolen], &["/x"], "CRITICAL", 2),
        ] {
            let (line, found) = nagios(&looked(ids, unseen));
            assert!(
                line.starts_with(&format!("VERIFY {state} - n1: ")),
                "{line}"
            );
            assert_eq!(line.matches('|').count(), 1, "{line}");
            assert_eq!((found, line.lines().count()), (status, 1), "{line}");
        }
        let (line, _) = nagios(&looked(&[stolen; 5], &[]));
        assert!(
            line.contains("5 errors, 0 warnings: client_stolen"),
            "{line}"
        );
        assert!(
            line.ends_with("; 2 more | errors=5;;0 warnings=0;0"),
            "{line}"
        );
    }

    #[test]
    fn no_name_of_the_tree_begins_the_numbers_of_nagios() {
        let mut looked = looked(&[Id::ClientStolen], &["/a|b"]);
        looked.host = "n1|errors=0".into();
        let (line, _) = nagios(&looked);
        assert!(
            line.starts_with("VERIFY CRITICAL - n1/errors=0: "),
            "{line}"
        );
        assert_eq!(line.matches('|').count(), 1, "{line}");
        let (line, status) = unknown("n1|x", "no\n|");
        let expected = "VERIFY UNKNOWN - n1/x: noded-proxy verify could not look: no /";
        assert_eq!((line.as_str(), status), (expected, 3));
    }

    #[test]
    fn no_text_of_the_tree_looks_like_another_part() {
        let mut looked = looked(&[Id::ClientStolen, Id::SshStranger], &["/a; b|c"]);
        looked.host = "n1; all is well".into();
        looked.findings[0].what = "x; 0 errors | errors=0;;1\nOK".into();
        looked.findings[1].subject = "y;".repeat(4000);
        let (line, _) = nagios(&looked);
        let begin = "VERIFY CRITICAL - n1, all is well: 1 error, 1 warning; cannot read /a, b/c: \
                     client_stolen (subject): x, 0 errors / errors=0,,1 OK; ssh_stranger (y,y,";
        assert!(line.starts_with(begin), "{line}");
        assert!(line.ends_with("y,... | errors=1;;0 warnings=1;0"), "{line}");
        assert!(line.len() < 800, "{line}");
        looked.unseen.clear();
        let begin = "n1, all is well: noded-proxy verify: client_stolen (subject): x, 0 errors /";
        assert!(hook(&looked).0.starts_with(begin), "{}", hook(&looked).0);
    }

    #[test]
    fn the_hook_names_so_many_and_counts_the_others() {
        let (line, _) = hook(&looked(&[Id::ClientStolen; 5_000], &[]));
        assert_eq!(line.matches("client_stolen").count(), 20);
        assert!(line.ends_with("; 4980 more"), "{line}");
        let (line, _) = hook(&looked(&[], &["/a"; 21]));
        assert!(line.ends_with("/a; 1 more"), "{line}");
    }
}
