//! The RPC policy, as shown: whether it is in force, and what it did since the start. It must never
//! ask the policy about a call.

use serde::{Deserialize, Serialize};

use crate::proxy::shared::Shared;
use rules::Named;
use rules::policy::{Policy, State};

/// Section `[policy]`, and what became of the calls that it forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcPolicy {
    /// Whether forbidden calls are refused.
    pub state: State,
    /// Rules of `deny`.
    pub deny: usize,
    /// Rules of `allow_from_master_only`.
    pub allow_from_master_only: usize,
    /// Calls that it refused since the start.
    pub refused: u64,
    /// Calls that it would have refused, and that were forwarded in its audit mode.
    pub audited: u64,
}

impl RpcPolicy {
    pub(super) fn of(shared: &Shared) -> Self {
        let (refused, audited) = shared.metrics.forbidden();
        Self {
            refused,
            audited,
            ..Self::started(&shared.policy)
        }
    }

    /// At the start.
    pub(crate) fn started(policy: &Policy) -> Self {
        Self {
            state: policy.state(),
            deny: policy.deny.len(),
            allow_from_master_only: policy.allow_from_master_only.len(),
            refused: 0,
            audited: 0,
        }
    }

    /// One line for people.
    pub fn line(self) -> String {
        let rules = format!(
            "{} for nobody, {} for the master alone",
            self.deny, self.allow_from_master_only
        );
        let name = self.state.name();
        match self.state {
            State::None => "none: every candidate may call every procedure".into(),
            State::Enforce => format!("{name}, rules: {rules}; refused: {}", self.refused),
            State::Audit => format!("{name}, rules: {rules}; would be refused: {}", self.audited),
        }
    }
}
