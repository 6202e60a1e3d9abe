//! Findings for people, and as a document. It only shows.

use std::path::Path;

use serde_json::{Value, json};

use super::looked::Looked;
use crate::daemon::report::words::count;
use rules::Named;
use rules::shown::inert_line;
use rules::verify::Severity;

/// Each finding on a line, with why it matters and what to do below the last one of its kind.
pub(super) fn render(looked: &Looked) -> String {
    let mut text = String::new();
    let mut findings = looked.findings.iter().peekable();
    while let Some(found) = findings.next() {
        let (severity, id) = (found.severity.name(), found.id.name());
        text += &format!("{severity:<8} {id}: {}: {}\n", found.subject, found.what);
        if findings.peek().is_none_or(|next| next.id != found.id) {
            text += &format!("         why: {}\n", found.why);
            text += &format!("         do:  {}\n", found.remedy);
        }
    }
    for path in &looked.unseen {
        text += &format!("could not look at {}\n", inert_line(path));
    }
    let errors = count(looked.count(Severity::Error), "error");
    let warnings = count(looked.count(Severity::Warning), "warning");
    text + &format!("{}: {errors}, {warnings}\n", looked.host)
}

/// The same as a document. Its keys are an interface.
pub(super) fn json(looked: &Looked, root: Option<&Path>) -> Value {
    json!({
        "host": looked.host,
        "at": looked.at,
        "root": root,
        "could_not_look_at": looked.unseen,
        "errors": looked.count(Severity::Error),
        "warnings": looked.count(Severity::Warning),
        "findings": looked.findings,
    })
}

#[cfg(test)]
mod tests {
    use super::super::looked::tests::looked;
    use super::*;
    use rules::verify::Id;

    #[test]
    fn findings_of_one_kind_share_the_remedy() {
        let ids = [Id::ClientNotListed, Id::SshStranger, Id::SshStranger];
        let text = render(&looked(&ids, &["/root/.ssh"]));
        let expected = "\
error    client_not_listed: subject: what
         why: its RPCs are refused, and it cannot become master
         do:  gnt-cluster renew-crypto --new-node-certificates
warning  ssh_stranger: subject: what
warning  ssh_stranger: subject: what
         why: whoever has it is root here; verify cannot tell an administrator from an intruder
         do:  remove the line, or put its fingerprint in verify.allow_ssh_keys; one pair of all nodes: noded-proxy ssh-keys
could not look at /root/.ssh
n1: 1 error, 2 warnings
";
        assert_eq!(text, expected);
        let text = render(&looked(&[], &["/x\nn1: 0 errors, 0 warnings\u{1b}"]));
        let expected = "could not look at /x\\u{a}n1: 0 errors, 0 warnings\\u{1b}\n";
        assert_eq!(text, format!("{expected}n1: 0 errors, 0 warnings\n"));
    }

    #[test]
    fn the_document_has_each_finding_with_its_remedy() {
        let document = json(&looked(&[Id::SshDsa], &[]), None);
        assert_eq!(document["warnings"], 1);
        let found = &document["findings"][0];
        assert_eq!(
            (&found["id"], &found["severity"]),
            (&"ssh_dsa".into(), &"warning".into())
        );
        assert_eq!(found["remedy"], Id::SshDsa.remedy());
    }
}
