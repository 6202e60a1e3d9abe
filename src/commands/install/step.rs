//! The steps of an installation, in words, and for each the step that takes it back. Pure: nothing is
//! done here.

use std::fmt;
use std::path::PathBuf;

use super::record::Record;
use crate::commands::divert::scene::Act;

/// A unit of this package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Guard,
    Socket,
    Proxy,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Guard => "noded-proxy-guard.service",
            Self::Socket => "noded-proxy.socket",
            Self::Proxy => "noded-proxy.service",
        }
    }
}

/// How this node starts and stops noded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manager {
    /// Ganeti's own script.
    DaemonUtil(PathBuf),
    /// Ganeti's native units.
    Systemd,
}

impl Manager {
    /// The commands, each with its arguments.
    pub(super) fn restart(&self) -> Vec<Vec<String>> {
        match self {
            Self::DaemonUtil(script) => ["stop", "start"]
                .map(|verb| {
                    vec![
                        script.display().to_string(),
                        verb.into(),
                        "ganeti-noded".into(),
                    ]
                })
                .into(),
            Self::Systemd => vec![systemctl("restart", ["ganeti-noded.service"])],
        }
    }
}

/// The change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) path: PathBuf,
    /// What is there now; nothing if there is no file.
    pub(super) from: Option<Vec<u8>>,
    /// What is to be there.
    pub(super) to: Option<Vec<u8>>,
    /// In words.
    pub(super) what: String,
}

/// A hook of this package, where Ganeti looks for it: a link, which follows each upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Link {
    pub(in crate::commands) path: PathBuf,
    pub(in crate::commands) target: PathBuf,
}

/// How it is shown that all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The proxy serves, noded behind it.
    Behind,
    /// noded serves this port by itself, with TLS, and none listens elsewhere.
    Alone(u16),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Remember how it was, instead of what was remembered before.
    Keep(Record, Option<Record>),
    /// Forget it.
    Forget(Record),
    Write(Write),
    Link(Link),
    Unlink(Link),
    /// A directory for the candidates' certificates.
    Make(PathBuf),
    Unmake(PathBuf),
    /// Have a running proxy read its configuration.
    Reread,
    /// Have systemd read its files.
    Reload,
    Enable(Vec<Unit>),
    Disable(Vec<Unit>),
    Start(Vec<Unit>),
    Stop(Vec<Unit>),
    /// Restart noded; it then listens on the first port, and on the second if it is taken back.
    Noded(Manager, u16, u16),
    Prove(Proof),
    /// At the place of Ganeti's program for transfers.
    Moves(Act),
}

impl Step {
    /// What takes it back.
    pub(super) fn inverse(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::Keep(record, None) => Self::Forget(record),
            Self::Keep(record, Some(before)) => Self::Keep(before, Some(record)),
            Self::Forget(record) => Self::Keep(record, None),
            Self::Write(write) => Self::Write(Write {
                from: write.to,
                to: write.from,
                what: "as it was".into(),
                ..write
            }),
            Self::Link(link) => Self::Unlink(link),
            Self::Unlink(link) => Self::Link(link),
            Self::Make(path) => Self::Unmake(path),
            Self::Unmake(path) => Self::Make(path),
            Self::Reread => Self::Reread,
            Self::Reload => Self::Reload,
            Self::Enable(units) => Self::Disable(units),
            Self::Disable(units) => Self::Enable(units),
            Self::Start(units) => Self::Stop(units),
            Self::Stop(units) => Self::Start(units),
            Self::Noded(manager, to, from) => Self::Noded(manager, from, to),
            Self::Moves(act) => return act.inverse().map(Self::Moves),
            Self::Prove(_) => return None,
        })
    }

    /// The commands that it runs.
    pub(super) fn commands(&self) -> Vec<Vec<String>> {
        let units = |verb, units: &[Unit]| vec![systemctl(verb, units.iter().map(|u| u.name()))];
        match self {
            Self::Reload => vec![systemctl("daemon-reload", [])],
            Self::Reread => units("reload", &[Unit::Proxy]),
            Self::Enable(all) => units("enable", all),
            Self::Disable(all) => units("disable", all),
            Self::Start(all) => units("start", all),
            Self::Stop(all) => units("stop", all),
            Self::Noded(manager, ..) => manager.restart(),
            Self::Moves(act) => act.commands(),
            Self::Keep(..) | Self::Forget(_) | Self::Prove(_) => Vec::new(),
            Self::Write(_) | Self::Link(_) | Self::Unlink(_) => Vec::new(),
            Self::Make(_) | Self::Unmake(_) => Vec::new(),
        }
    }

    /// Whether noded's port is open to local users from then on.
    pub(super) fn unguards(&self) -> bool {
        match self {
            Self::Stop(units) | Self::Disable(units) => units.contains(&Unit::Guard),
            _ => false,
        }
    }

    /// Whether RPCs that run would notice.
    pub(super) fn disturbs(&self) -> bool {
        match self {
            Self::Noded(..) => true,
            Self::Stop(units) => units.contains(&Unit::Proxy),
            _ => false,
        }
    }
}

fn systemctl<'a>(verb: &'a str, units: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let words = ["systemctl", verb].into_iter().chain(units);
    words.map(str::to_owned).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(record, before) => {
                let path = record.path.display();
                match before {
                    None => write!(f, "keep {path} as it is, for `uninstall`"),
                    Some(_) => write!(f, "keep {path} as it was before the first `install`"),
                }
            }
            Self::Forget(record) => write!(f, "drop what was kept of {}", record.path.display()),
            Self::Write(write) => write!(f, "{}: {}", write.path.display(), write.what),
            Self::Link(Link { path, target }) => {
                write!(f, "{}: a link to {}", path.display(), target.display())
            }
            Self::Moves(act) => act.fmt(f),
            Self::Make(path) => write!(f, "{}: made", path.display()),
            Self::Unlink(Link { path, .. }) | Self::Unmake(path) => {
                write!(f, "{}: removed", path.display())
            }
            Self::Prove(Proof::Behind) => f.write_str(
                "prove it: `check` finds no error, nobody is kept out, an RPC comes through",
            ),
            Self::Prove(Proof::Alone(_)) => f.write_str(
                "prove it: noded has the RPC port again, with TLS, and none listens elsewhere",
            ),
            _ => {
                let commands = self.commands();
                let lines: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
                f.write_str(&lines.join("; "))?;
                match self {
                    Self::Noded(_, port, _) => write!(f, "; wait for noded on port {port}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// What takes back the steps that were begun, the last of which may be half done.
pub(super) fn way_back(begun: &[Step]) -> Vec<Step> {
    let mut back: Vec<Step> = begun.iter().rev().filter_map(Step::inverse).collect();
    // noded is restarted with the file as it was.
    if let Some(noded) = back.iter().position(|step| matches!(step, Step::Noded(..))) {
        let is_file = |step: &Step| matches!(step, Step::Write(_) | Step::Reload);
        let (files, others): (Vec<Step>, Vec<Step>) =
            back.split_off(noded).into_iter().partition(is_file);
        let (writes, reloads): (Vec<Step>, Vec<Step>) = files
            .into_iter()
            .partition(|step| matches!(step, Step::Write(_)));
        back.extend(writes.into_iter().chain(reloads).chain(others));
    }
    // It is read again when it is as it was.
    if let Some(at) = back.iter().position(|step| *step == Step::Reread) {
        let reread = back.remove(at);
        back.push(reread);
    }
    back
}
