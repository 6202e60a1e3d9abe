//! From what each node has to what is done on which, in which order. Pure: no node is asked.

use std::fmt;

use crate::commands::install::flags::InstallArgs;
use crate::commands::ssh::call::{End, Said};

/// Where the candidates' certificates go where the configuration names no other place.
const CERTS: &str = "/etc/noded-proxy/candidates";

/// What a node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Ganeti leaves it out.
    Offline,
    /// No program.
    Absent,
    /// No running proxy.
    New,
    Audit,
    Enforce,
    /// ssh does not get there.
    Unreachable(String),
}

impl State {
    /// The word that its line begins with.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Offline => "skip",
            Self::Absent | Self::Unreachable(_) => "FAIL",
            _ => "note",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("offline, left out"),
            Self::Absent => f.write_str("noded-proxy is not there"),
            Self::New => f.write_str("no proxy runs"),
            Self::Audit => f.write_str("the proxy runs in audit mode"),
            Self::Enforce => f.write_str("the proxy runs and enforces"),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

/// A node and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) state: State,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// A command of a node's own program, and then its `check`.
    Run { node: String, command: String },
    /// The candidates' certificates go to all nodes.
    Certificates,
}

impl Deed {
    pub(super) fn short(&self) -> String {
        match self {
            Self::Run { node, command } => {
                let mode = command.split("--mode ").nth(1).unwrap_or_default();
                let mode = mode.split(' ').next().unwrap_or_default();
                format!("{node} ({mode})")
            }
            Self::Certificates => "certificates".into(),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { node, command } => write!(f, "{node}: {command}; noded-proxy check"),
            Self::Certificates => f.write_str("all nodes: noded-proxy certs distribute"),
        }
    }
}

/// What a node's answer to `status --json` means.
pub(super) fn state(said: &Said) -> State {
    let report: Option<serde_json::Value> = serde_json::from_slice(&said.out).ok();
    let mode = report.as_ref().and_then(|report| report["mode"].as_str());
    match (said.end, mode) {
        (End::Status(127), _) => State::Absent,
        (End::Status(_), Some("audit")) => State::Audit,
        (End::Status(_), Some(_)) => State::Enforce,
        (End::Status(_), None) => State::New,
        _ => State::Unreachable(said.why()),
    }
}

/// First every node gets the proxy in audit mode, then all get the certificates, then each enforces.
/// A node that enforces already never goes back to audit mode. Or what stands in the way.
pub(super) fn deeds(places: &[Place], args: &InstallArgs) -> Result<Vec<Deed>, Vec<String>> {
    let named = |is: fn(&State) -> bool| -> Vec<&str> {
        let all = places.iter().filter(|place| is(&place.state));
        all.map(|place| &*place.name).collect()
    };
    let absent = named(|state| *state == State::Absent);
    let unreachable = named(|state| matches!(state, State::Unreachable(_)));
    let mut missing = Vec::new();
    if !unreachable.is_empty() {
        missing.push(format!(
            "{}: not reached by ssh: put it right, or `gnt-node modify -O yes` if the node is down",
            unreachable.join(", ")
        ));
    }
    if !absent.is_empty() {
        missing.push(format!(
            "{}: noded-proxy is not there: `gnt-cluster copyfile FILE.deb`, then on each `apt-get \
             install -y FILE.deb` (gnt-cluster command runs it on all)",
            absent.join(", ")
        ));
    }
    if !missing.is_empty() {
        missing.push("nothing was done".into());
        return Err(missing);
    }
    Ok(in_order(places, args))
}

fn in_order(places: &[Place], args: &InstallArgs) -> Vec<Deed> {
    let given = [
        (args.socket, " --socket"),
        (args.node.wait, " --wait"),
        (args.node.now, " --now"),
    ];
    let options: String = given
        .iter()
        .filter_map(|(is_set, option)| is_set.then_some(*option))
        .collect();
    let run = |place: &Place, how: &str| Deed::Run {
        node: place.name.clone(),
        command: format!(
            "noded-proxy install --apply --mode {how} --candidate-certs {CERTS}{options}"
        ),
    };
    let takes_part = places.iter().filter(|p| p.state != State::Offline);
    // One that enforces may still lack the rest; it never goes back to audit mode.
    let first = takes_part.clone().map(|place| match place.state {
        State::Enforce => run(place, "enforce --hooks"),
        _ => run(place, "audit"),
    });
    let last = takes_part.filter(|place| place.state != State::Enforce);
    let last = last.filter(|_| args.mode.as_deref() != Some("audit"));
    let last = last.map(|place| run(place, "enforce --hooks"));
    first.chain([Deed::Certificates]).chain(last).collect()
}

#[cfg(test)]
#[path = "deeds_tests.rs"]
mod tests;
