//! What a look at the cluster has brought, by node. It only counts, and keeps no more of a node than
//! is shown.

use rules::verify::cluster::Held;
use rules::verify::{Finding, Severity};

/// Findings of one node that are kept, the worst first. One node cannot fill the master's memory, and
/// its findings never take the place of another's.
const MOST: usize = 300;

rules::named! {
    /// How a node was looked at.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum How {
        /// It is the master.
        Here = "here",
        /// By its own program.
        Program = "noded-proxy",
        /// By its files.
        Files = "files",
        /// Not at all.
        Unseen = "unseen",
        /// Not at all: it is offline, and does not answer.
        Offline = "offline",
    }
}

/// What was found on a node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) how: How,
    /// Ganeti leaves it alone.
    pub(super) is_offline: bool,
    pub(super) errors: usize,
    pub(super) warnings: usize,
    pub(super) findings: Vec<Finding>,
    /// What could not be seen in this way.
    pub(super) not_looked_at: Vec<&'static str>,
    pub(super) held: Held,
}

impl Node {
    /// One of which nothing but these troubles is known.
    pub(super) fn unseen(name: &str, how: How, troubles: Vec<Finding>) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            how,
            is_offline: false,
            errors: 0,
            warnings: 0,
            findings: Vec::new(),
            not_looked_at: Vec::new(),
            held: Held::default(),
        };
        node.add(troubles);
        node
    }

    /// All are counted, and the first are kept.
    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        let is_error = |found: &&Finding| found.severity == Severity::Error;
        let errors = findings.iter().filter(is_error).count();
        self.errors += errors;
        self.warnings += findings.len() - errors;
        self.findings.extend(findings);
        self.findings.sort();
        self.findings.truncate(MOST);
        self.findings.shrink_to_fit();
    }

    /// Findings that were counted and not kept.
    pub(super) fn left_out(&self) -> usize {
        (self.errors + self.warnings).saturating_sub(self.findings.len())
    }

    /// Whether it was looked at.
    pub(super) fn is_seen(&self) -> bool {
        match self.how {
            How::Here | How::Program | How::Files => true,
            How::Unseen | How::Offline => false,
        }
    }
}

/// What was found on all nodes.
pub(super) struct Report {
    pub(super) cluster: String,
    pub(super) master: String,
    /// When, in seconds since 1970.
    pub(super) at: i64,
    pub(super) nodes: Vec<Node>,
    /// What several nodes have, and should not.
    pub(super) in_common: Vec<Finding>,
}

impl Report {
    pub(super) fn count(&self, severity: Severity) -> usize {
        let of_nodes = self.nodes.iter().map(|node| match severity {
            Severity::Error => node.errors,
            Severity::Warning => node.warnings,
        });
        let common = self.in_common.iter();
        of_nodes.sum::<usize>() + common.filter(|found| found.severity == severity).count()
    }

    /// Nodes that were looked at.
    pub(super) fn seen(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_seen()).count()
    }

    /// Each finding with the node that it is on; without one it is on the cluster.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&Finding, Option<&Node>)> {
        let of_nodes = self.nodes.iter();
        let of_nodes = of_nodes.flat_map(|node| node.findings.iter().map(move |f| (f, Some(node))));
        let common = self.in_common.iter().map(|found| (found, None));
        common.chain(of_nodes)
    }

    /// 0 clean, 1 findings.
    pub(super) fn status(&self) -> u8 {
        let all = self.count(Severity::Error) + self.count(Severity::Warning);
        u8::from(all > 0)
    }
}
