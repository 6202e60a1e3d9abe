//! From what is there to the steps that are left. Pure: what was seen comes in as a value, and
//! nothing is done.

use std::path::PathBuf;

use rules::guard::Missing;
use rules::noded::Stands;

use super::change::{self, Was};
use super::kept;
use super::record::Record;
use super::step::{Manager, Proof, Step, Unit, Write};
use crate::commands::noded_args::{self, NodedArgs};
use crate::config::UpstreamConfig;

/// What is said where noded is down, and was so before.
pub(super) const NOT_STARTED: &str = "noded does not run, and is not started";

/// The state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct UnitState {
    pub(super) enabled: bool,
    pub(super) active: bool,
}

/// Where noded's arguments come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// `NODED_ARGS` in a file that a shell or systemd reads.
    Variable {
        /// Whether systemd reads it: it does not know `export`.
        by_systemd: bool,
    },
    /// The unit does not know `NODED_ARGS`: a drop-in with another command. This is the unit's own.
    DropIn {
        /// The command, with its arguments.
        command: String,
    },
}

/// What was seen of the node.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
    pub(super) record: Option<Record>,
    pub(super) manager: Manager,
    pub(super) upstream: UpstreamConfig,
    /// Whether the port of noded needs the guard.
    pub(super) needs_guard: bool,
    /// The port that the proxy is to have.
    pub(super) public: u16,
    pub(super) guard: UnitState,
    /// Why the guard that runs does not close the port of noded.
    pub(super) guard_fault: Option<Missing>,
    pub(super) socket: UnitState,
    pub(super) proxy: UnitState,
    /// The nodeds that run, wherever they listen.
    pub(super) nodeds: Vec<Stands>,
    /// Whether one stands behind the proxy.
    pub(super) noded_behind: bool,
    /// Whether noded ran when an earlier run began, which did not come to its end.
    pub(super) cut_short: bool,
}

/// What is to be done, and what is to be said besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<String>,
}

impl Seen {
    pub(super) fn text(&self) -> &[u8] {
        self.content.as_deref().unwrap_or_default()
    }

    pub(super) fn unsafe_(&self, why: &str) -> String {
        let name = self.path.display();
        let wanted = noded_args::wanted(&self.upstream);
        format!(
            "{name}: NODED_ARGS cannot be changed safely: {why}. Change it by hand to have \
             \"{wanted}\", then try again"
        )
    }

    /// The arguments as they are now.
    pub(super) fn arguments(&self) -> Result<String, String> {
        change::value(self.text()).map_err(|why| self.unsafe_(&why))
    }

    /// The port where noded listens with these arguments.
    pub(super) fn port(&self, arguments: &str) -> u16 {
        let port = NodedArgs::parse(arguments).port;
        port.and_then(|port| port.parse().ok())
            .unwrap_or(self.public)
    }

    pub(super) fn write(&self, to: Option<Vec<u8>>, what: String) -> Write {
        Write {
            path: self.path.clone(),
            from: self.content.clone(),
            to,
            what,
        }
    }

    /// Whether noded runs, or did before an earlier run took it down.
    pub(super) fn noded_runs(&self) -> bool {
        !self.nodeds.is_empty() || self.noded_behind || self.cut_short
    }

    pub(super) fn noded(&self, to: u16, from: u16) -> Option<Step> {
        let step = Step::Noded(self.manager.clone(), to, from);
        self.noded_runs().then_some(step)
    }
}

/// What `install` has to do.
pub(super) fn install(seen: &Seen, socket: bool) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let (steps, behind) = (&mut plan.steps, seen.upstream.address.port());
    let mut port_before = behind; // where it starts with the file as it is
    let changed = move_noded(seen)?;
    let is_changed = changed.is_some();
    if seen.needs_guard {
        guard_fits(seen)?;
        // Before anything can start a noded that obeys whoever connects.
        steps.extend((!seen.guard.enabled).then(|| Step::Enable(vec![Unit::Guard])));
        steps.extend((!seen.guard.active).then(|| Step::Start(vec![Unit::Guard])));
    }
    if let Some((write, was)) = changed {
        port_before = seen.port(&seen.arguments().unwrap_or_default());
        let (now, to) = (seen.content.as_deref(), write.to.as_deref());
        let to = to.unwrap_or_default();
        let record = match &seen.record {
            Some(first) => kept::again(first, now, was, to),
            None => Record::new(&seen.path, was, now, to),
        };
        steps.push(Step::Keep(record, seen.record.clone()));
        steps.push(Step::Write(write));
        if matches!(seen.source, Source::DropIn { .. }) {
            steps.push(Step::Reload);
        }
    }
    // With the file: booted from here on, the proxy serves before the noded that has moved.
    steps.extend(enabled(seen, socket));
    if is_changed || !seen.noded_behind {
        steps.extend(seen.noded(behind, port_before));
    }
    serve(seen, socket, steps);
    if !steps.is_empty() {
        steps.push(Step::Prove(Proof::Behind));
    }
    if !seen.noded_runs() {
        plan.notes.push(NOT_STARTED.into());
    }
    Ok(plan)
}

/// A guard that runs stays as it is: started anew for another port it would leave the old one, where
/// noded still is.
fn guard_fits(seen: &Seen) -> Result<(), String> {
    let (Some(fault), true) = (&seen.guard_fault, seen.guard.active) else {
        return Ok(());
    };
    let remedy = match fault {
        Missing::OtherPort(_) => "`noded-proxy uninstall --apply` first, then this again",
        _ => "`noded-proxy check` says more",
    };
    let (guard, port) = (Unit::Guard.name(), seen.upstream.address.port());
    Err(format!(
        "{guard} runs, and does not close port {port}: {fault}. {remedy}"
    ))
}

/// Has the proxy, and its socket unit if that is asked for, come back at the next boot.
fn enabled(seen: &Seen, socket: bool) -> Option<Step> {
    let socket = (socket && !seen.socket.enabled).then_some(Unit::Socket);
    let proxy = (!seen.proxy.enabled).then_some(Unit::Proxy);
    let units: Vec<Unit> = socket.into_iter().chain(proxy).collect();
    (!units.is_empty()).then_some(Step::Enable(units))
}

/// Has the proxy run, behind its socket unit if that is asked for. A socket unit cannot be started
/// while its service runs.
fn serve(seen: &Seen, socket: bool, steps: &mut Vec<Step>) {
    let adds_socket = socket && !seen.socket.active;
    if adds_socket && seen.proxy.active {
        steps.push(Step::Stop(vec![Unit::Proxy]));
    }
    let mut start = Vec::new();
    if adds_socket {
        start.push(Unit::Socket);
    }
    if adds_socket || !seen.proxy.active {
        start.push(Unit::Proxy);
    }
    steps.extend((!start.is_empty()).then_some(Step::Start(start)));
}

/// The change of the file; nothing if noded's arguments fit already.
fn move_noded(seen: &Seen) -> Result<Option<(Write, Option<Was>)>, String> {
    let wanted = noded_args::wanted(&seen.upstream);
    let by_systemd = match &seen.source {
        Source::DropIn { command } => {
            let text = drop_in(command, &wanted)?.into_bytes();
            if seen.text() == text {
                return Ok(None);
            }
            let what = format!("noded is started with {wanted}");
            return Ok(Some((seen.write(Some(text), what), None)));
        }
        Source::Variable { by_systemd } => *by_systemd,
    };
    let old = seen.arguments()?;
    if NodedArgs::parse(&old).fit(&seen.upstream) {
        return Ok(None);
    }
    let failed = |why: String| seen.unsafe_(&why);
    if by_systemd && change::is_exported(seen.text()) {
        return Err(seen.unsafe_("systemd, which reads it here, does not know `export`"));
    }
    let new = noded_args::moved(&old, &seen.upstream).map_err(failed)?;
    let (content, was) = change::set(seen.text(), &new).map_err(failed)?;
    let what = format!("NODED_ARGS=\"{old}\" becomes \"{new}\", all else stays");
    Ok(Some((seen.write(Some(content), what), Some(was))))
}

/// A drop-in for a unit that does not know `NODED_ARGS` (Ganeti 2.12 to 2.16).
fn drop_in(command: &str, wanted: &str) -> Result<String, String> {
    if command.is_empty() || command.contains(['"', '\'', '\\', ';', '{']) {
        return Err(format!(
            "the command of ganeti-noded.service cannot be changed safely: {command}"
        ));
    }
    let without =
        |text: &str, end: &str| text.strip_suffix(end).unwrap_or(text).trim_end().to_owned();
    let command = without(&without(command, "$ONETIME_ARGS"), wanted); // it may be in force already
    Ok(format!(
        "# Made by `noded-proxy install`; `noded-proxy uninstall` takes it away.\n\
         [Service]\nExecStart=\nExecStart={command} {wanted} $ONETIME_ARGS\n"
    ))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
