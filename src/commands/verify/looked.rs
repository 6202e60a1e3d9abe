//! What a look has brought. It only counts.

use rules::shown::printable;
use rules::verify::observed::Observed;
use rules::verify::{Finding, Severity};

/// Exit status when not everything could be looked at.
pub(super) const COULD_NOT_LOOK: u8 = 2;

/// What a look has brought.
pub(super) struct Looked {
    pub(super) host: String,
    pub(super) at: i64,
    pub(super) findings: Vec<Finding>,
    /// What could not be looked at; then an end without findings says nothing.
    pub(super) unseen: Vec<String>,
}

impl Looked {
    pub(super) fn of(seen: &Observed, findings: Vec<Finding>) -> Self {
        let mut unseen = seen.forbidden.clone();
        for (name, list) in [
            ("ssconf_node_list", &seen.lists.nodes),
            ("ssconf_master_candidates", &seen.lists.candidates),
        ] {
            unseen.extend(list.is_none().then(|| name.into()));
        }
        Self {
            host: match seen.host.as_str() {
                "" => "unknown host".into(),
                host => printable(host),
            },
            at: seen.at,
            findings,
            unseen,
        }
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        let of = |found: &&Finding| found.severity == severity;
        self.findings.iter().filter(of).count()
    }

    /// 0 clean, 1 findings, 2 could not look.
    pub(super) fn status(&self) -> u8 {
        match (self.unseen.is_empty(), self.findings.is_empty()) {
            (false, _) => COULD_NOT_LOOK,
            (true, false) => 1,
            (true, true) => 0,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rules::verify::Id;

    /// A look at n1 that found these.
    pub(in super::super) fn looked(ids: &[Id], unseen: &[&str]) -> Looked {
        let finding = |id: &Id| Finding {
            severity: id.severity(),
            id: *id,
            subject: "subject".into(),
            what: "what".into(),
            why: id.why(),
            remedy: id.remedy(),
        };
        Looked {
            host: "n1".into(),
            at: 7,
            findings: ids.iter().map(finding).collect(),
            unseen: unseen.iter().map(|&path| path.into()).collect(),
        }
    }

    #[test]
    fn without_a_list_of_ganetis_not_everything_was_looked_at() {
        let mut seen = Observed::default();
        let unseen = |seen: &Observed| Looked::of(seen, vec![]).unseen;
        let [nodes, candidates] = ["ssconf_node_list", "ssconf_master_candidates"];
        assert_eq!(unseen(&seen), [nodes, candidates]);
        seen.lists.nodes = Some(vec![]);
        assert_eq!(unseen(&seen), [candidates]);
        seen.lists.candidates = Some(vec![]);
        assert!(unseen(&seen).is_empty());
    }

    #[test]
    fn exit_status_as_a_table() {
        for (ids, unseen, expected) in [
            (&[][..], &[][..], 0),
            (&[Id::SshStranger], &[], 1),
            (&[], &["/x"], 2),
            (&[Id::ClientStolen], &["/x"], 2),
        ] {
            assert_eq!(looked(ids, unseen).status(), expected);
        }
    }
}
