//! Looks at the node: units, files, ports. What it saw goes to the plan as a value; it changes
//! nothing.

use std::path::{Path, PathBuf};

use super::flags::NodeArgs;
use super::nodeds;
use super::place;
use super::plan::{Seen, Source};
use super::record::Keep;
use super::settings::{Files, found};
use super::step::{Manager, Unit};
use super::units::Shown;
use crate::config::{Config, DEFAULT_FILE, Problem};
use crate::node::sockets;
use crate::proxy::upstream::{GuardWatch, read_guard};
use rules::guard::Missing;
use rules::noded::{Answers, look};

/// Where Ganeti's packages put the file that sets `NODED_ARGS`.
const DEFAULTS: [&str; 3] = [
    "/etc/default/ganeti",
    "/etc/sysconfig/ganeti",
    "/usr/local/etc/default/ganeti",
];
/// Where they put `daemon-util`.
const DAEMON_UTIL: [&str; 3] = [
    "/usr/lib/ganeti/daemon-util",
    "/usr/lib64/ganeti/daemon-util",
    "/usr/local/lib/ganeti/daemon-util",
];
/// The drop-in for a unit that does not know `NODED_ARGS`.
const DROP_IN: &str = "/etc/systemd/system/ganeti-noded.service.d/noded-proxy.conf";

/// What systemd has of this package and of Ganeti.
pub(super) struct Node {
    pub(super) guard: Shown,
    pub(super) socket: Shown,
    pub(super) proxy: Shown,
    noded: Shown,
    /// Whether Ganeti has native units here.
    native: bool,
}

impl Node {
    pub(super) fn look() -> Result<Self, String> {
        Ok(Self {
            guard: Shown::of(Unit::Guard.name())?,
            socket: Shown::of(Unit::Socket.name())?,
            proxy: Shown::of(Unit::Proxy.name())?,
            noded: Shown::of("ganeti-noded.service")?,
            native: Shown::of("ganeti.target")?.is_loaded(),
        })
    }

    /// The configuration: that of the command line, or the one which the unit names.
    pub(super) fn config(&self, args: &NodeArgs) -> Result<Config, Vec<Problem>> {
        let mut file = args.file.clone();
        file.config = self.config_file(args);
        Config::load(&file, &[])
    }

    fn config_file(&self, args: &NodeArgs) -> Option<PathBuf> {
        let named = self.proxy.argument("--config").filter(|path| path.exists());
        args.file.config.clone().or(named)
    }

    /// That file and those beside it, as they are.
    pub(super) fn settings(&self, args: &NodeArgs) -> Result<Files, String> {
        let path = self.config_file(args);
        found(&path.unwrap_or_else(|| DEFAULT_FILE.into()))
    }

    /// The file that sets `NODED_ARGS`.
    pub(super) fn defaults(args: &NodeArgs) -> PathBuf {
        let given = args.noded_defaults.clone();
        given
            .or_else(|| there(&DEFAULTS))
            .unwrap_or_else(|| DEFAULTS[0].into())
    }

    /// What is there, as the plan takes it.
    pub(super) fn seen(
        &self,
        args: &NodeArgs,
        config: &Config,
        keep: &Keep,
    ) -> Result<Seen, String> {
        let (source, path) = self.source(args);
        place::replaceable(&path)?;
        let upstream = config.upstream.address;
        let public = config.listen.first().map_or(1811, |address| address.port());
        let listeners = sockets::listeners().map_err(|error| error.to_string())?;
        let all: Vec<_> = listeners.iter().map(sockets::Listener::listening).collect();
        let answers = look(&all, upstream, sockets::trusted()).answers;
        let noded_behind = answers == Answers::Noded && upstream.port() != public;
        Ok(Seen {
            content: place::read(&path)?,
            source,
            path,
            record: keep.load()?,
            manager: self.manager(args)?,
            upstream: config.upstream.clone(),
            needs_guard: needs_guard(config),
            public,
            guard: self.guard.state(),
            guard_fault: guard_fault(config),
            socket: self.socket.state(),
            proxy: self.proxy.state(),
            nodeds: nodeds::all()?,
            noded_behind,
            cut_short: keep.is_at_work(),
        })
    }

    fn source(&self, args: &NodeArgs) -> (Source, PathBuf) {
        let file = Self::defaults(args);
        let read = self.noded.get("EnvironmentFiles");
        let knows = self.noded.command().contains("NODED_ARGS");
        let reads = |path: &Path| read.split_whitespace().any(|word| Path::new(word) == path);
        if self.native && !(knows && reads(&file)) {
            let command = self.noded.command().into();
            return (Source::DropIn { command }, DROP_IN.into());
        }
        let by_systemd = self.native;
        (Source::Variable { by_systemd }, file)
    }

    fn manager(&self, args: &NodeArgs) -> Result<Manager, String> {
        if self.native {
            return Ok(Manager::Systemd);
        }
        let script = daemon_util(args.daemon_util.as_deref()).ok_or(
            "Ganeti's daemon-util is not where its packages put it: say where with --daemon-util",
        )?;
        Ok(Manager::DaemonUtil(script))
    }
}

/// Ganeti's `daemon-util`: the one that is named, or that of a package.
pub(super) fn daemon_util(given: Option<&Path>) -> Option<PathBuf> {
    given.map(PathBuf::from).or_else(|| there(&DAEMON_UTIL))
}

/// The first of them that is there.
fn there(known: &[&str]) -> Option<PathBuf> {
    let known = known.iter().map(PathBuf::from);
    known.into_iter().find(|path| path.exists())
}

/// What the guard says of itself, if that is not that it closes noded's port.
fn guard_fault(config: &Config) -> Option<Missing> {
    match config.guard_watch() {
        GuardWatch::Says(path) => read_guard(&path, config.upstream.address.port()).err(),
        GuardWatch::NotNeeded | GuardWatch::Off => None,
    }
}

/// Whether noded speaks to whoever can connect.
pub(super) fn needs_guard(config: &Config) -> bool {
    matches!(config.guard_watch(), GuardWatch::Says(_))
}
