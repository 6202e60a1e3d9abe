//! What only the master sees, who looks at all nodes at once.
//!
//! Each node is judged by the same rules as alone, but with what the *master* knows of the cluster:
//! who is a node, who a candidate, which certificate and key is whose. So a node that lies speaks of
//! itself alone, and a finding on it names it and nobody else. What several nodes have in common and
//! the master knows no owner of is a finding on the cluster, which names all of them.
//!
//! ```text
//!   compare   a node's lists, configuration and keys with the master's
//!   held      certificates and private keys, and who has them
//!   offline   what is wrong with a node that Ganeti leaves alone
//!   trouble   a node that could not be looked at
//! ```

mod compare;
mod held;
mod offline;
mod trouble;

use std::collections::BTreeMap;

use super::finding::Finding;
use super::observed::{Lists, Observed, Seen};
use super::{Allowed, judge};
pub use held::Held;
use held::Owners;
pub use trouble::Trouble;

/// What the master itself has, which every node is compared with.
pub struct Master {
    seen: Observed,
    /// Ganeti's lists as the configuration has them, else the master's own.
    lists: Lists,
    owners: Owners,
}

/// What is wrong with one node, and what it holds.
pub struct Judged {
    /// All that is wrong, errors first, each only once.
    pub findings: Vec<Finding>,
    /// What may not be on two nodes.
    pub held: Held,
}

impl Master {
    /// From the master's look at itself.
    pub fn of(seen: Observed) -> Self {
        Self {
            lists: lists(&seen),
            owners: Owners::of(&seen),
            seen,
        }
    }

    /// Judges the node of this name by what it says of itself; the master too. The time is that of
    /// the master.
    pub fn judge(&self, name: &str, mut seen: Observed, allowed: &Allowed) -> Judged {
        let mut findings = compare::judge(&self.seen, &self.lists, name, &seen);
        seen.at = self.seen.at;
        seen.host = name.to_owned();
        seen.lists = self.lists.clone();
        if self.seen.configuration.good().is_some() {
            seen.configuration = self.seen.configuration.clone();
        }
        findings.extend(judge(&seen, allowed));
        let held = Held::of(&seen);
        for found in held.of_others(name, &self.owners) {
            let same = |one: &Finding| (one.id, &one.subject) == (found.id, &found.subject);
            if !findings.iter().any(same) {
                findings.push(found);
            }
        }
        if self.is_offline(name) {
            findings = offline::on_offline(findings);
        }
        findings.retain(|found| !allowed.ignore.contains(&found.id));
        findings.sort();
        findings.dedup();
        Judged { findings, held }
    }

    fn is_offline(&self, name: &str) -> bool {
        let offline = self.lists.offline.iter().flatten();
        offline.into_iter().any(|of| of == name)
    }

    /// What several nodes have and the master knows no owner of. `held` is by node.
    pub fn in_common(&self, held: &BTreeMap<&str, &Held>, allowed: &Allowed) -> Vec<Finding> {
        held::in_common(&self.owners, held, allowed)
    }
}

fn lists(seen: &Observed) -> Lists {
    let Seen::Good(configured) = &seen.configuration else {
        return seen.lists.clone();
    };
    let names = |has: fn(&super::observed::Node) -> bool| {
        let nodes = configured.nodes.values().filter(|node| has(node));
        Some(nodes.map(|node| node.name.clone()).collect())
    };
    Lists {
        nodes: names(|_| true),
        candidates: names(|node| node.master_candidate),
        offline: names(|node| node.offline),
        master: seen.lists.master.clone(),
    }
}

#[cfg(test)]
pub(super) mod tests;
