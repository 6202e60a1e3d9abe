//! What is wrong with a node's certificates, SSH keys and files, by what was read of it.
//!
//! Pure: [`judge`] is a function from an [`Observed`] to [`Finding`]s, so that a node, a recorded
//! tree and a test run the same checks. It never says that a node is good, only that nothing was
//! found; what one node cannot decide is a warning.
//!
//! ```text
//!   observed      what was read, as values
//!   ids           the closed list of findings
//!   finding       one of them
//!   role          who this node is, and who the candidates are
//!   known         which key is whose
//!   map           the candidate map, and the configuration's
//!   certificates  server.pem and client.pem
//!   proxy         what the running proxy says
//!   authorized    who may log in
//!   keys          the SSH keys that are here
//!   files         modes, owners, and what should not be here
//!   cluster       what only the master sees, who looks at all nodes
//! ```

mod authorized;
mod certificates;
pub mod cluster;
mod files;
mod finding;
mod ids;
mod keys;
mod known;
mod map;
pub mod observed;
mod proxy;
mod role;

use std::collections::BTreeSet;

use serde::Deserialize;

pub use finding::Finding;
pub use ids::{Id, Severity};
use observed::Observed;
use role::Place;

/// Section `[verify]` of the configuration: what the administrator knows better.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// Fingerprints (`SHA256:...`) of SSH keys that may be authorized, though they are no node's.
    pub allow_ssh_keys: BTreeSet<String>,
    /// Findings that nobody wants to hear of.
    pub ignore: Vec<Id>,
}

/// All that is wrong, errors first, each only once.
pub fn judge(seen: &Observed, allowed: &Allowed) -> Vec<Finding> {
    let place = Place::of(seen);
    let mut findings = place.judge();
    if !place.is_node() || !seen.forbidden.is_empty() {
        return findings; // to another machine, or to another user than root, all would seem wrong
    }
    findings.extend(map::judge(&place));
    findings.extend(certificates::judge(&place));
    findings.extend(seen.proxy.iter().flat_map(proxy::judge));
    findings.extend(authorized::judge(&place, &allowed.allow_ssh_keys));
    findings.extend(keys::judge(&place));
    findings.extend(files::judge(&place));
    findings.retain(|found| !allowed.ignore.contains(&found.id));
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests;
