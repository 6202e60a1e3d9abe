//! After a reload: may the old process still pass to noded what it has begun?
//!
//! It judges by the configuration of its own start. So what noded has not got yet is passed only if
//! the new process would judge by the same rules; else it is the new one's to judge. Whatever
//! differs counts as stricter, and so do rules of another version that say the same in other words.

use serde::Serialize;

use crate::admission::BootstrapPolicy;
use crate::{authz, policy};

/// All that a configuration says about who may call what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Who is admitted.
    pub access: authz::Policy,
    /// Whether the bootstrap phase may be open.
    pub bootstrap: BootstrapPolicy,
    /// Which procedures may be called.
    pub policy: policy::Policy,
    /// TLS as it was once is accepted.
    pub legacy: bool,
    /// The files that name candidates, cluster and master.
    pub files: Vec<String>,
}

/// Whether the old process may pass on what it has begun. `successor`: what the new one judges by,
/// if it says so.
pub fn may_pass<T: PartialEq>(own: &T, successor: Option<&T>) -> bool {
    successor == Some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{BindPeer, Mode};

    /// As it goes from the one process to the other.
    fn told(change: impl FnOnce(&mut InForce)) -> serde_json::Value {
        let mut rules = InForce {
            access: authz::Policy::default(),
            bootstrap: BootstrapPolicy::Allow,
            policy: policy(&["version"], &["dangerous"]),
            legacy: false,
            files: vec!["map".into()],
        };
        change(&mut rules);
        serde_json::to_value(rules).unwrap()
    }

    fn policy(deny: &[&str], master_only: &[&str]) -> policy::Policy {
        let rules = |list: &[&str]| list.iter().map(|rule| rule.parse().unwrap()).collect();
        policy::Policy {
            deny: rules(deny),
            allow_from_master_only: rules(master_only),
            audit: false,
        }
    }

    #[test]
    fn only_under_the_same_rules_as_a_table() {
        let own = told(|_| {});
        assert!(may_pass(&own, Some(&told(|_| {}))));
        assert!(!may_pass(&own, None), "a version that does not say");
        type Change = fn(&mut InForce);
        let changes: [Change; 11] = [
            |rules| rules.access.mode = Mode::Audit,
            |rules| rules.access.bind_peer = BindPeer::Enforce,
            |rules| rules.access.reject_expired = true,
            |rules| rules.bootstrap = BootstrapPolicy::Refuse,
            |rules| rules.policy.audit = true,
            |rules| rules.policy = policy::Policy::default(),
            |rules| rules.policy = policy(&["version", "run_oob"], &["dangerous"]),
            |rules| rules.policy = policy(&["!version"], &["dangerous"]),
            |rules| rules.policy = policy(&["version"], &["dangerous", "!upload_file(/x)"]),
            |rules| rules.legacy = true,
            |rules| rules.files = vec!["another".into()],
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let new = told(change);
            assert!(!may_pass(&own, Some(&new)), "{number}: stricter");
            assert!(
                !may_pass(&new, Some(&own)),
                "{number}: or the other way round"
            );
        }
        let mut newer = own.clone();
        newer["later"] = true.into();
        assert!(!may_pass(&own, Some(&newer)), "a rule of a newer version");
    }
}
