//! The RPC policy, asked about one call. It decides nothing: `rules` does. Here are the caller's
//! role, the arguments and the counters.

use tracing::info;

use super::record::Record;
use super::refused::Refused;
use crate::proxy::http::Body;
use crate::proxy::metrics;
use rules::arguments::Value;
use rules::authz::Permit;
use rules::master::Role;
use rules::policy::{Arguments, FirstLook, Forbidden};

/// Longest body whose arguments the policy reads. It takes memory for each value in it.
const JUDGED: u64 = 4 << 20;

impl Record {
    /// What the RPC policy says of this call before its arguments are there.
    pub(super) fn ask_policy(&self, permit: &Permit) -> Result<Option<Role>, Forbidden> {
        let policy = &self.shared.policy;
        if policy.is_empty() {
            return Ok(None);
        }
        let role = self.role(permit);
        match policy.first_look(&self.procedure, role) {
            Ok(FirstLook::AskAgain) => Ok(None),
            Ok(FirstLook::Pass) => Ok(Some(role)),
            Err(why) => self.forbid(why).map(|()| Some(role)),
        }
    }

    /// What the RPC policy says of this call with its arguments.
    pub(super) async fn judge(&self, role: Role, body: &Body) -> Result<(), Refused> {
        let body = body.contents(JUDGED).await?;
        let arguments = arguments(body.as_deref());
        let arguments = match &arguments {
            Ok(value) => Arguments::Seen(value),
            Err(why) => Arguments::Unseen(why),
        };
        let judged = self.shared.policy.check(&self.procedure, role, arguments);
        Ok(judged.or_else(|why| self.forbid(why))?)
    }

    /// The caller's role by what is known of the master now.
    pub(super) fn role(&self, permit: &Permit) -> Role {
        self.shared.store.current().role(permit, &self.client.peer)
    }

    /// Counts what the policy forbids. In audit mode it passes all the same.
    fn forbid(&self, forbidden: Forbidden) -> Result<(), Forbidden> {
        let (policy, peer) = (&self.shared.policy, &self.client.peer);
        let outcome = match policy.audit {
            true => metrics::Forbidden::Audit,
            false => metrics::Forbidden::Refused,
        };
        let counters = &self.shared.metrics.requests.policy_forbidden;
        counters.of(forbidden.list, outcome).inc();
        if !policy.audit {
            return Err(forbidden);
        }
        info!(peer = %self.client.address, cn = peer.name(), digest = %peer.digest,
            procedure = &*self.procedure, why = %forbidden, "policy.audit: forwarded all the same");
        Ok(())
    }
}

/// The arguments, read as noded will read them, or why they cannot be.
fn arguments(body: Option<&[u8]>) -> Result<Value, String> {
    let too_long = || format!("more than {JUDGED} bytes");
    let body = body.ok_or_else(too_long)?;
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
