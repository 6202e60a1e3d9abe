//! One line for programs: Ganeti's hook and Nagios. Only printable ASCII gets into it.

use super::looked::{COULD_NOT_LOOK, Looked};
use crate::daemon::report::words::count;
use rules::shown::ascii_line;
use rules::verify::{Finding, Severity};

/// Nagios: it cannot be told.
pub(super) const UNKNOWN: u8 = 3;
/// Findings that are named in the line of Nagios.
const NAMED: usize = 3;

/// Only errors: Ganeti makes an error of anything that a hook says. It names the node by its UUID
/// alone, so the line begins with the host.
pub(super) fn hook(looked: &Looked) -> (String, u8) {
    let host = &looked.host;
    if !looked.unseen.is_empty() {
        let unseen = looked.unseen.join(", ");
        return (
            unable(host, &format!("cannot read {unseen}")),
            COULD_NOT_LOOK,
        );
    }
    let errors = looked.findings.iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    let errors: Vec<String> = errors.map(told).collect();
    match errors.is_empty() {
        true => (format!("{host}: noded-proxy verify: no errors"), 0),
        false => {
            let line = format!("{host}: noded-proxy verify: {}", errors.join("; "));
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
    let first: Vec<String> = looked.findings.iter().take(NAMED).map(told).collect();
    let more = looked.findings.len().saturating_sub(NAMED);
    let mut text = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
    if !looked.unseen.is_empty() {
        text += &format!("; cannot read {}", looked.unseen.join(", "));
    }
    if !first.is_empty() {
        text += &format!(": {}", first.join("; "));
    }
    if more > 0 {
        text += &format!("; {more} more");
    }
    let text = ascii_line(&text).replace('|', "/"); // a bar begins the numbers
    let numbers = format!("errors={errors};;1 warnings={warnings};1");
    let line = format!("VERIFY {state} - {}: {text} | {numbers}", looked.host);
    (line, status)
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
            line.ends_with("; 2 more | errors=5;;1 warnings=0;1"),
            "{line}"
        );
    }
}
