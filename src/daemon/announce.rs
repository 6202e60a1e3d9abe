//! What operators are told of the running proxy: in the log, by the admin listener, by systemd.
//! Nothing here changes what the proxy does.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::daemon::admin::Admin;
use crate::daemon::metrics::Metrics;
use crate::daemon::report::RpcPolicy;
use crate::daemon::systemd;
use crate::proxy::listener::State;
use rules::Named;
use rules::authz::Mode;
use rules::policy::{self, Policy};

/// Tells how the public listener stands.
pub(super) struct Announcer {
    admin: Arc<Admin>,
    last: Option<State>,
}

impl Announcer {
    pub(super) fn new(admin: Arc<Admin>) -> Self {
        let last = None;
        Self { admin, last }
    }

    /// Called for the first state, and after each change of it or of the snapshot. systemd is told
    /// once that start-up is done, and after that the status line.
    pub(super) fn tell(&mut self, state: State) {
        self.admin.set_listening(state.clone());
        let summary = self.admin.summary();
        if self.last.as_ref() != Some(&state) {
            tell_change(&state, &summary);
        }
        match (&state, &self.last) {
            (State::Closed, _) => {} // systemd knows that the proxy drains
            (_, None) => systemd::ready(&summary),
            (_, Some(_)) => systemd::status(&summary),
        }
        self.last = Some(state);
    }
}

fn tell_change(state: &State, summary: &str) {
    match state {
        State::Listening(addresses) => {
            for address in addresses {
                info!(%address, "listening");
            }
        }
        State::Waiting => info!("{summary}"),
        State::Blocked { address, why } => {
            error!(%address, why, "cannot listen there, trying again");
        }
        State::Closed => {}
    }
}

/// Says which mode is in force: audit mode is no protection.
pub(super) fn announce_mode(mode: Mode, metrics: &Metrics) {
    metrics.mode.only(Some(mode));
    match mode {
        Mode::Enforce => info!(mode = mode.name(), "the candidate map decides"),
        Mode::Audit => warn!(
            mode = mode.name(),
            "AUDIT MODE: any certificate of this cluster is admitted; what enforce would refuse \
             is only counted"
        ),
    }
}

/// Tells how the RPC policy stands.
pub(super) fn announce_policy(rules: &Policy, metrics: &Metrics) {
    metrics.policy.only(Some(rules.state()));
    match rules.state() {
        policy::State::None => {}
        policy::State::Audit | policy::State::Enforce => {
            info!("RPC policy: {}", RpcPolicy::started(rules).line());
        }
    }
}
