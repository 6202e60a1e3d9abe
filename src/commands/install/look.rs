//! Looks at the node: units, files, ports. What it saw goes to the plan as a value; it changes
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place;
use super::plan::{Seen, Source};
use super::record::Record;
use super::step::{Manager, Unit};
use super::units::Shown;
use crate::commands::cli::{InstallArgs, NodeArgs};
use crate::commands::guard::guarded_port;
use crate::config::{Config, Problem};
use crate::node::sockets::{self, taken_by};
use crate::proxy::upstream::GuardWatch;
use rules::noded::{Answers, look};

/// Where Ganeti's packages put the file that sets `NODED_ARGS`.
const DEFAULTS: [&str; 2] = ["/etc/default/ganeti", "/etc/sysconfig/ganeti"];
/// Where they put `daemon-util`.
const DAEMON_UTIL: [&str; 3] = [
    "/usr/lib/ganeti/daemon-util",
    "/usr/lib64/ganeti/daemon-util",
    "/usr/local/lib/ganeti/daemon-util",
];
/// The drop-in for a unit that does not know `NODED_ARGS`.
const DROP_IN: &str = "/etc/systemd/system/ganeti-noded.service.d/noded-proxy.conf";
/// The guard's rules, unless its unit names others.
const RULES: &str = "/etc/noded-proxy/noded-proxy-guard.nft";

/// What systemd has of this package and of Ganeti.
pub(super) struct Node {
    guard: Shown,
    socket: Shown,
    proxy: Shown,
    noded: Shown,
    /// Whether Ganeti has native units here.
    native: bool,
}

impl Node {
    pub(super) fn look() -> Self {
        Self {
            guard: Shown::of(Unit::Guard.name()),
            socket: Shown::of(Unit::Socket.name()),
            proxy: Shown::of(Unit::Proxy.name()),
            noded: Shown::of("ganeti-noded.service"),
            native: Shown::of("ganeti.target").is_loaded(),
        }
    }

    /// The configuration: that of the command line, or the one which the unit names.
    pub(super) fn config(&self, args: &NodeArgs) -> Result<Config, Vec<Problem>> {
        let mut file = args.file.clone();
        let named = self.proxy.argument("--config").filter(|path| path.exists());
        file.config = file.config.or(named);
        Config::load(&file, &[])
    }

    /// The file that sets `NODED_ARGS`.
    pub(super) fn defaults(args: &NodeArgs) -> PathBuf {
        let there = DEFAULTS
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists());
        let given = args.noded_defaults.clone();
        given.or(there).unwrap_or_else(|| DEFAULTS[0].into())
    }

    /// What must be there before an installation, and is not.
    pub(super) fn missing(&self, args: &InstallArgs, config: &Config) -> Vec<String> {
        let mut missing = Vec::new();
        let mut units = vec![(Unit::Proxy, &self.proxy)];
        if needs_guard(config) {
            units.push((Unit::Guard, &self.guard));
        }
        if args.socket {
            units.push((Unit::Socket, &self.socket));
        }
        for (unit, shown) in units {
            if !shown.is_loaded() {
                missing.push(format!(
                    "/etc/systemd/system/{} is missing: copy it there from systemd/, then \
                     systemctl daemon-reload",
                    unit.name()
                ));
            }
        }
        for path in [&self.proxy, &self.guard]
            .into_iter()
            .filter_map(|unit| unit.program())
        {
            if !path.exists() {
                missing.push(format!(
                    "{} is missing: copy the program there",
                    path.display()
                ));
            }
        }
        if let Some(path) = self
            .proxy
            .argument("--config")
            .filter(|path| !path.exists())
        {
            let from = "copy it there from config/noded-proxy.toml";
            missing.push(format!("{} is missing: {from}", path.display()));
        }
        missing.extend(self.no_user());
        missing.extend(needs_guard(config).then(|| self.rules(config)).flatten());
        missing.dedup();
        missing
    }

    fn no_user(&self) -> Option<String> {
        let user = Some(self.proxy.get("User")).filter(|user| !user.is_empty())?;
        let mut id = Command::new("id");
        id.args(["-u", user]).stdin(Stdio::null());
        let known = id.output().is_ok_and(|output| output.status.success());
        let file = "/usr/lib/sysusers.d/noded-proxy.conf";
        (!known).then(|| {
            format!("there is no user {user}: copy systemd/noded-proxy.sysusers to {file}, then systemd-sysusers")
        })
    }

    /// What is wrong with the guard's rules.
    fn rules(&self, config: &Config) -> Option<String> {
        let path = self.guard.argument("--rules");
        let path = path.unwrap_or_else(|| RULES.into());
        let (name, port) = (path.display(), config.upstream.address.port());
        let Ok(text) = fs::read_to_string(&path) else {
            let from = "copy it there from systemd/noded-proxy-guard.nft";
            return Some(format!("{name} is missing: {from}"));
        };
        let is = guarded_port(&text);
        (is != Some(port)).then(|| format!("{name} must say `define noded_port = {port}`"))
    }

    /// What is there, as the plan takes it.
    pub(super) fn seen(
        &self,
        args: &NodeArgs,
        config: &Config,
        record: Option<Record>,
    ) -> Result<Seen, String> {
        let (source, path) = self.source(args);
        place::replaceable(&path)?;
        let upstream = config.upstream.address;
        let public = config.listen.first().map_or(1811, |address| address.port());
        let listeners = sockets::listeners().map_err(|error| error.to_string())?;
        let all: Vec<_> = listeners.iter().map(sockets::Listener::listening).collect();
        let answers = look(&all, upstream, sockets::trusted()).answers;
        let direct = taken_by(&listeners, public).is_some_and(|by| by.starts_with("ganeti-noded "));
        let noded_behind = answers == Answers::Noded && upstream.port() != public;
        Ok(Seen {
            content: place::read(&path)?,
            source,
            path,
            record,
            manager: self.manager(args)?,
            upstream: config.upstream.clone(),
            needs_guard: needs_guard(config),
            public,
            guard: self.guard.state(),
            socket: self.socket.state(),
            proxy: self.proxy.state(),
            noded_runs: direct || noded_behind,
            noded_behind,
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
        let there = DAEMON_UTIL
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists());
        let script = args.daemon_util.clone().or(there).ok_or(
            "Ganeti's daemon-util is not where its packages put it: say where with --daemon-util",
        )?;
        Ok(Manager::DaemonUtil(script))
    }
}

/// Whether noded speaks to whoever can connect.
pub(super) fn needs_guard(config: &Config) -> bool {
    matches!(config.guard_watch(), GuardWatch::Says(_))
}
