//! What is wrong with Ganeti's lists beside the candidate map, and what follows from it. Pure.

use std::path::Path;

use super::finding::Finding;
use crate::config::Config;
use crate::node::flaw::Flaw;
use crate::node::ssconf::{
    CANDIDATES, CLUSTER, MASTER, MASTER_IP, NODES, Ssconf, TAGS, is_of_host,
};
use rules::authz::BindPeer;

/// Ganeti writes a list anew only when it changes.
const TODO: &str = "gnt-cluster copyfile -n NODE FILE on the master writes it anew";

/// The lists, and what was found wrong with them.
pub(super) struct Lists {
    said: Ssconf,
    flaws: Vec<(&'static str, Flaw)>,
}

impl Lists {
    pub(super) fn read(dir: &Path) -> Self {
        let mut said = Ssconf::default();
        let flaws = said.read(dir, |_| false);
        Self { said, flaws }
    }

    /// Whether Ganeti leaves this node out. `offline`: the lines of `ssconf_offline_nodes`.
    pub(super) fn offline(host: &str, offline: Option<&[String]>) -> Option<Finding> {
        let mut names = offline?.iter();
        let name = names.find(|name| is_of_host(name, host))?;
        let text = format!(
            "{name} is in ssconf_offline_nodes: Ganeti sends it no candidate map, so who is \
             admitted may be old: gnt-node modify -O no {name} on the master when it is back"
        );
        Some(Finding::warning("node_offline", text))
    }

    /// Findings on the lists of a node that is in a cluster.
    pub(super) fn judge(&self, config: &Config) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .flaws
            .iter()
            .map(|(name, flaw)| faulty(name, flaw, config))
            .collect();
        if config.admission.bind_peer == BindPeer::Enforce {
            findings.extend(self.unknown().map(|name| no_address(name, config)));
        }
        if findings.is_empty() {
            let dir = config.ssconf_dir.display();
            findings.push(Finding::ok(
                "ssconf",
                format!("{dir}: every list is in order"),
            ));
        }
        findings
    }

    /// The first list without an address, though nothing is wrong with it.
    fn unknown(&self) -> Option<&'static str> {
        let is_empty = [
            (CANDIDATES, self.said.candidate_addresses.is_empty()),
            (NODES, self.said.primary_addresses.is_empty()),
        ];
        let is_good = |name| self.flaws.iter().all(|(faulty, _)| *faulty != name);
        let found = is_empty
            .into_iter()
            .find(|(name, empty)| *empty && is_good(*name));
        found.map(|(name, _)| name)
    }
}

fn faulty(name: &str, flaw: &Flaw, config: &Config) -> Finding {
    let file = config.ssconf_dir.join(name);
    let (follows, refuses) = consequence(name, config);
    let text = format!(
        "{}: {flaw}: a proxy that runs keeps what the file said before; after a start {follows}: \
         {TODO}",
        file.display()
    );
    match refuses {
        true => Finding::error("ssconf", text),
        false => Finding::warning("ssconf", text),
    }
}

fn no_address(name: &str, config: &Config) -> Finding {
    let file = config.ssconf_dir.join(name);
    let text = format!(
        "{}: absent or empty: admission.bind_peer = \"enforce\" refuses every candidate: {TODO}",
        file.display()
    );
    Finding::error("ssconf", text)
}

/// What follows when this list says nothing, and whether somebody is refused for it who is a
/// candidate or the master.
fn consequence(name: &str, config: &Config) -> (&'static str, bool) {
    let binds = config.admission.bind_peer == BindPeer::Enforce;
    let has_policy = !config.policy.is_empty();
    match name {
        CANDIDATES | NODES if binds => (
            "admission.bind_peer = \"enforce\" refuses every candidate",
            true,
        ),
        NODES if has_policy => (
            "section policy knows no node's address: what is for the master alone is refused",
            true,
        ),
        CANDIDATES => ("no candidate is served before strangers in a flood", false),
        NODES => (
            "no node's name is known: the ECDSA certificate has fewer names, and a copied \
             certificate is not noticed",
            false,
        ),
        MASTER => (
            "the master is not known, unless state_dir keeps his name",
            false,
        ),
        MASTER_IP => (
            "a master that calls from the cluster's address counts as a stranger",
            binds || has_policy,
        ),
        TAGS => ("no announced successor of the master is known", has_policy),
        CLUSTER => ("the ECDSA certificate lacks the cluster's name", false),
        _ => ("it says nothing", false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Error, Ok as Good, Warning};
    use super::*;
    use rules::policy::Policy;

    fn config(bind_peer: BindPeer, policy: bool) -> Config {
        let mut config = Config::default();
        config.admission.bind_peer = bind_peer;
        if policy {
            let text = r#"{"allow_from_master_only": ["mutating"]}"#;
            config.policy = serde_json::from_str::<Policy>(text).unwrap();
        }
        config
    }

    fn verdict(name: &'static str, config: &Config) -> Verdict {
        let flaws = vec![(name, Flaw::at_line(2, "not an IP address"))];
        let said = Ssconf::default();
        let found = Lists { said, flaws }.judge(config);
        assert!(found[0].message.contains(name), "{found:?}");
        assert!(found[0].message.contains("line 2: "), "{found:?}");
        found[0].verdict
    }

    #[test]
    fn a_faulty_list_is_as_bad_as_what_follows_from_it() {
        let table = [
            (CANDIDATES, [Warning, Error, Warning]),
            (NODES, [Warning, Error, Error]),
            (MASTER, [Warning, Warning, Warning]),
            (MASTER_IP, [Warning, Error, Error]),
            (TAGS, [Warning, Warning, Error]),
            (CLUSTER, [Warning, Warning, Warning]),
        ];
        let configs = [
            config(BindPeer::Off, false),
            config(BindPeer::Enforce, false),
            config(BindPeer::Off, true),
        ];
        for (name, expected) in table {
            let found = configs.each_ref().map(|config| verdict(name, config));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_node_that_ganeti_leaves_out_is_told() {
        let offline = ["node2.example.com".to_owned()];
        let found = |host| Lists::offline(host, Some(&offline)).map(|found| found.verdict);
        assert_eq!(found("node2"), Some(Warning));
        assert_eq!(found("node2.example.com"), Some(Warning));
        assert_eq!(found("node1.example.com"), None);
        assert_eq!(Lists::offline("node2", None), None);
    }

    #[test]
    fn enforcement_without_addresses_refuses_everybody() {
        let none = Lists::read("/nonexistent".as_ref());
        for (bind_peer, expected) in [(BindPeer::Warn, Good), (BindPeer::Enforce, Error)] {
            let found = none.judge(&config(bind_peer, false));
            assert_eq!(found[0].verdict, expected, "{found:?}");
        }
    }
}
