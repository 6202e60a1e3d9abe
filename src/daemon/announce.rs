//! What operators are told of the running proxy: in the log, by the admin listener, by systemd.
//! Nothing here changes what the proxy does.

use std::sync::Arc;

use tracing::{info, warn};

use crate::daemon::admin::Admin;
use crate::daemon::metrics::Metrics;
use crate::daemon::report::Admission;
use crate::daemon::systemd;
use crate::proxy::listener::State;
use crate::proxy::shared::Shared;
use rules::Named;
use rules::authz::Mode;

/// Tells how the public listener stands.
pub(super) struct Announcer {
    shared: Arc<Shared>,
    admin: Arc<Admin>,
    last: Option<State>,
}

impl Announcer {
    pub(super) fn new(shared: Arc<Shared>, admin: Arc<Admin>) -> Self {
        Self {
            shared,
            admin,
            last: None,
        }
    }

    /// Called for the first state, and after each change of it or of the snapshot. systemd is told
    /// once that start-up is done, and after that the status line.
    pub(super) fn tell(&mut self, state: State) {
        let summary = summary(&self.shared);
        if self.last.as_ref() != Some(&state) {
            self.tell_change(&state, &summary);
        }
        match (&state, &self.last) {
            (State::Closed, _) => {} // systemd knows that the proxy drains
            (_, None) => systemd::ready(&summary),
            (_, Some(_)) => systemd::status(&summary),
        }
        self.last = Some(state);
    }

    fn tell_change(&self, state: &State, summary: &str) {
        let addresses = match state {
            State::Listening(addresses) => addresses.clone(),
            State::Waiting | State::Closed => Vec::new(),
        };
        for address in &addresses {
            info!(%address, "listening");
        }
        if *state == State::Waiting {
            info!("{summary}");
        }
        self.admin.set_listening(addresses);
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

/// The line that `systemctl status` shows.
pub(super) fn summary(shared: &Shared) -> String {
    let mode = shared.store.policy().mode;
    Admission::of(&shared.store.snapshot()).status_line(mode)
}
