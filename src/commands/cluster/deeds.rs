//! From what each node has to what is done on which, in which order. Pure: no node is asked.

use std::fmt;
use std::path::Path;

use crate::commands::install::flags::{InstallArgs, NodeArgs};
use crate::commands::install::record::UNDO_DIR;
use crate::commands::ssh::call::{End, Said, quoted};

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
    /// It can command the others already, so nothing is feared of it.
    pub(super) candidate: bool,
    pub(super) state: State,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Commands of a node's own program.
    Run {
        node: String,
        mode: &'static str,
        commands: Vec<String>,
        /// Whether the master gets through to the node then.
        proof: Proof,
        /// What fails on a candidate may fail anywhere: nothing is begun after it.
        stops: bool,
    },
    /// The candidates' certificates go to all nodes.
    Certificates,
}

/// An RPC of the master's after the commands, and what puts the node back if it does not come through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    None,
    /// Else this command, and what the node is then.
    OrElse(String, &'static str),
    /// The proxy was there before, in this mode: there is nothing to put back.
    OrLeave,
}

impl Deed {
    pub(super) fn short(&self) -> String {
        match self {
            Self::Run { node, mode, .. } => format!("{node} ({mode})"),
            Self::Certificates => "certificates".into(),
        }
    }

    /// Where it is done.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Run { node, .. } => node,
            Self::Certificates => "certificates",
        }
    }

    /// Whether it needs no other one to be over, and no other one needs it to be.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Run { stops: false, .. })
    }

    /// Whether nothing is begun after it when it fails.
    pub(super) fn stops(&self) -> bool {
        matches!(self, Self::Run { stops: true, .. })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run {
                node,
                commands,
                proof,
                ..
            } => {
                write!(f, "{node}: {}", commands.join("; "))?;
                match proof {
                    Proof::None => Ok(()),
                    Proof::OrElse(..) | Proof::OrLeave => f.write_str("; an RPC from here"),
                }
            }
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

/// What is done, and what is said of nodes that cannot follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) deeds: Vec<Deed>,
    pub(super) left: Vec<String>,
}

/// Each node gets the proxy, the candidates before the others, and then all get the certificates. Audit mode is entered only by name,
/// for it is less than what Ganeti's own node daemon checks; a node that enforces never goes back to
/// it. A normal node that cannot follow holds up nobody; or the candidates that stand in the way.
pub(super) fn plan(places: &[Place], args: &InstallArgs) -> Result<Plan, Vec<String>> {
    let (candidates, normal): (Vec<&Place>, Vec<&Place>) =
        places.iter().partition(|place| place.candidate);
    let mut missing = faults(&candidates);
    if !missing.is_empty() {
        missing.extend(faults(&normal));
        missing.push("nothing was done: it begins only when each candidate can follow".into());
        return Err(missing);
    }
    Ok(Plan {
        deeds: in_order(places, args),
        left: faults(&normal),
    })
}

/// The way back: what was put there is taken away, where something was. A node that is out of reach
/// holds up nobody, for with the proxy on some nodes alone the cluster works as well.
pub(super) fn back(nodes: &[Place], args: &NodeArgs) -> Plan {
    let places = places_of(args);
    let reached = nodes.iter().filter(|place| place.state != State::Absent);
    let patience = patience(args);
    let run = able(nodes).map(|place| Deed::Run {
        node: place.name.clone(),
        mode: "uninstall",
        commands: vec![uninstall(patience, &places)],
        proof: Proof::None,
        stops: place.candidate,
    });
    Plan {
        deeds: run.collect(),
        left: faults(&reached.collect::<Vec<_>>()),
    }
}

/// Why nodes cannot follow.
fn faults(places: &[&Place]) -> Vec<String> {
    let named = |is: fn(&State) -> bool| -> String {
        let all = places.iter().filter(|place| is(&place.state));
        all.map(|place| &*place.name).collect::<Vec<_>>().join(", ")
    };
    let absent = named(|state| *state == State::Absent);
    let unreachable = named(|state| matches!(state, State::Unreachable(_)));
    let mut missing = Vec::new();
    if !unreachable.is_empty() {
        missing.push(format!(
            "{unreachable}: not reached by ssh: put it right, or `gnt-node modify -O yes` if the \
             node is down"
        ));
    }
    if !absent.is_empty() {
        missing.push(format!(
            "{absent}: noded-proxy is not there: `gnt-cluster copyfile FILE.deb`, then on each \
             `apt-get install -y FILE.deb` (gnt-cluster command runs it on all)"
        ));
    }
    missing
}

fn in_order(nodes: &[Place], args: &InstallArgs) -> Vec<Deed> {
    let socket = if args.socket { " --socket" } else { "" };
    let patience = patience(&args.node);
    let places = places_of(&args.node);
    let certs = args.candidate_certs.as_deref();
    let certs = certs.map_or_else(|| CERTS.to_owned(), quoted);
    let audit = args.mode.as_deref() == Some("audit");
    let run = able(nodes).map(|place| {
        let (mode, hooks) = match audit && place.state != State::Enforce {
            true => ("audit", ""),
            false => ("enforce", " --hooks"),
        };
        Deed::Run {
            node: place.name.clone(),
            mode,
            commands: vec![
                format!(
                    "noded-proxy install --apply --mode {mode}{hooks} --candidate-certs \
                     {certs}{socket}{patience}{places}"
                ),
                "noded-proxy check --quiet".into(),
            ],
            proof: match place.state {
                State::Enforce => Proof::OrLeave,
                State::Audit if audit => Proof::OrLeave,
                State::Audit => Proof::OrElse(
                    format!("noded-proxy install --apply --mode audit --now{places}"),
                    "is in audit mode again; hooks and socket unit stay",
                ),
                _ => Proof::OrElse(
                    uninstall(" --now", &places),
                    "has noded alone, without the proxy",
                ),
            },
            stops: place.candidate,
        }
    });
    run.chain([Deed::Certificates]).collect()
}

fn uninstall(patience: &str, places: &str) -> String {
    format!("noded-proxy uninstall --apply{patience}{places}")
}

/// Where things are on each node, as far as it was said here.
fn places_of(args: &NodeArgs) -> String {
    let undo = Some(&args.undo_dir).filter(|path| *path != Path::new(UNDO_DIR));
    let all = [
        ("noded-defaults", args.noded_defaults.as_ref()),
        ("daemon-util", args.daemon_util.as_ref()),
        ("undo-dir", undo),
        ("hooks-dir", args.hooks_dir.as_ref()),
        ("hooks-from", args.hooks_from.as_ref()),
    ];
    let said = all
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)));
    said.map(|(name, path)| format!(" --{name} {}", quoted(path)))
        .collect()
}

/// The nodes with a program that can be reached, candidates first: what fails on them may fail anywhere,
/// and they fear nothing of each other. The master is the last of these.
fn able(places: &[Place]) -> impl Iterator<Item = &Place> {
    let is_able = |state: &State| matches!(state, State::New | State::Audit | State::Enforce);
    let (candidates, normal): (Vec<&Place>, Vec<&Place>) = places
        .iter()
        .filter(|place| is_able(&place.state))
        .partition(|place| place.candidate);
    candidates.into_iter().chain(normal)
}

/// What each node is told of RPCs that run.
fn patience(args: &NodeArgs) -> &'static str {
    match (args.wait, args.now) {
        (true, _) => " --wait",
        (false, true) => " --now",
        (false, false) => "",
    }
}

/// The nodes that are in audit mode when these deeds were begun, and some of them failed. One that
/// failed on its way there may be.
pub(super) fn in_audit(places: &[Place], begun: &[&Deed], failed: &[&str]) -> Vec<String> {
    let now = |place: &Place| {
        let modes = begun.iter().find_map(|deed| match deed {
            Deed::Run { node, mode, .. } if *node == place.name => Some(*mode),
            _ => None,
        });
        match (modes, failed.contains(&&*place.name)) {
            (Some("audit"), true) => Some(format!("{} (perhaps)", place.name)),
            (Some("enforce"), false) => None,
            (Some("audit"), false) => Some(place.name.clone()),
            _ => (place.state == State::Audit).then(|| place.name.clone()),
        }
    };
    places.iter().filter_map(now).collect()
}

#[cfg(test)]
#[path = "deeds_tests.rs"]
mod tests;
