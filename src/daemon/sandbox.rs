//! What this process may still do once it runs: Landlock and `no_new_privs`, on top of what the unit allows.
//!
//! Entered before there is a second thread, for a thread passes its sandbox on to the threads it starts and to
//! no others. Landlock knows files by inode, and a directory that is removed and made again (a node leaves and
//! joins, a package is purged) is another one: so the *parent* of each directory of Ganeti's is opened for
//! reading, unless that were a top-level one. UDP and local sockets stay as the unit has them.

use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::config::{Config, SandboxMode};

/// What stays allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Files and directories to read; what does not exist is left out.
    pub read: Vec<PathBuf>,
    /// Directories to write below.
    pub write: Vec<PathBuf>,
    /// TCP ports to listen on; 0 means any that the kernel chooses.
    pub bind: Vec<u16>,
    /// TCP ports to connect to.
    pub connect: Vec<u16>,
}

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// No program that is started gets more rights than this process.
    pub no_new_privs: bool,
    /// Files outside the plan are out of reach.
    pub filesystem: bool,
    /// TCP ports outside the plan are out of reach (Linux 6.7).
    pub network: bool,
    /// Signals reach this process alone (Linux 6.12).
    pub signals: bool,
}

impl Report {
    /// The layers by name, as in the label of `noded_proxy_sandbox`.
    pub fn layers(self) -> [(&'static str, bool); 4] {
        [
            ("no_new_privs", self.no_new_privs),
            ("filesystem", self.filesystem),
            ("network", self.network),
            ("signals", self.signals),
        ]
    }

    /// Whether the layers that hold an intruder are all there.
    pub fn is_complete(self) -> bool {
        self.no_new_privs && self.filesystem && self.network
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |wanted: bool| -> Vec<&str> {
            let layers = self.layers().into_iter();
            layers
                .filter(|(_, on)| *on == wanted)
                .map(|(name, _)| name)
                .collect()
        };
        match (names(true), names(false)) {
            (on, off) if off.is_empty() => write!(f, "{}", on.join(", ")),
            (on, off) if on.is_empty() => write!(f, "none (the kernel lacks {})", off.join(", ")),
            (on, off) => write!(f, "{} (the kernel lacks {})", on.join(", "), off.join(", ")),
        }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something that it should know.
    #[error("Landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// `sandbox = "require"`, and a layer is missing.
    #[error("sandbox = require, but all there is: {0}")]
    Incomplete(Report),
}

/// Enters the sandbox that the configuration asks for, if it asks for one.
pub fn start(config: &Config) -> Result<Option<Report>, Error> {
    if config.sandbox == SandboxMode::Off {
        return Ok(None);
    }
    let report = enter(&Plan::of(config))?;
    if config.sandbox == SandboxMode::Require && !report.is_complete() {
        return Err(Error::Incomplete(report));
    }
    Ok(Some(report))
}

/// Restricts the calling thread and all that it starts to the plan, as far as the kernel can, for good.
pub fn enter(plan: &Plan) -> Result<Report, Error> {
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let all = AccessFs::from_all(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all
        & !(AccessFs::Execute
            | AccessFs::MakeBlock
            | AccessFs::MakeChar
            | AccessFs::MakeFifo
            | AccessFs::MakeSock
            | AccessFs::IoctlDev);
    let port =
        |access: AccessNet| move |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, access));
    let status = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&plan.read, read))?
        .add_rules(path_beneath_rules(&plan.write, write))?
        .add_rules(plan.bind.iter().map(port(AccessNet::BindTcp)))?
        .add_rules(plan.connect.iter().map(port(AccessNet::ConnectTcp)))?
        .restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    Ok(Report {
        no_new_privs: no_new_privs && status.no_new_privs,
        filesystem: enforced && abi >= ABI::V1,
        network: enforced && abi >= ABI::V4,
        signals: enforced && abi >= ABI::V6,
    })
}

/// What every process of this program reads, whatever its configuration: numbers about itself, and the
/// configuration and modules of a system's OpenSSL.
const ALWAYS: [&str; 8] = [
    "/proc",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/urandom",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/usr/lib",
    "/usr/lib64",
];

impl Plan {
    /// What a proxy with this configuration needs.
    pub fn of(config: &Config) -> Self {
        let map = config.map_path();
        let directories = [Some(&*config.ssconf_dir), config.candidate_certs.as_deref()];
        let bundle = config.candidate_bundle.as_deref();
        let files = [Some(&*config.server_pem), Some(&*map), bundle];
        let mut read: Vec<PathBuf> = ALWAYS.map(PathBuf::from).into();
        let files = files.into_iter().flatten();
        let holders = files.clone().filter_map(Path::parent);
        for directory in directories.into_iter().flatten().chain(holders) {
            read.extend(reachable(directory));
        }
        // Where a symbolic link leads to is another place.
        let targets = files.filter_map(|file| file.canonicalize().ok());
        read.extend(targets);
        read.sort();
        read.dedup();
        let listen = config.listen.iter().map(|address| address.port());
        Self {
            read,
            write: vec![config.state_dir.clone()],
            bind: listen.chain([config.admin.port()]).collect(),
            connect: vec![config.upstream.address.port()],
        }
    }
}

/// A directory, and its parent for the case that it is made anew; never all of `/etc`, `/var` and the like.
fn reachable(directory: &Path) -> Vec<PathBuf> {
    let Ok(directory) = std::path::absolute(directory) else {
        return Vec::new();
    };
    let parent = directory
        .parent()
        .filter(|parent| parent.components().count() > 2);
    let parent = parent.map(Path::to_owned);
    std::iter::once(directory).chain(parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_the_defaults() {
        let plan = Plan::of(&Config::default());
        let own: Vec<_> = plan
            .read
            .iter()
            .filter(|path| path.starts_with("/var"))
            .collect();
        assert_eq!(own, ["/var/lib", "/var/lib/ganeti"].map(Path::new));
        assert_eq!(plan.write, [Path::new("/var/lib/noded-proxy")]);
        assert_eq!((plan.bind, plan.connect), (vec![1811, 9811], vec![11811]));
    }

    #[test]
    fn a_top_level_directory_is_never_opened_whole() {
        let table = [
            ("/etc/candidates", vec!["/etc/candidates"]),
            (
                "/etc/noded-proxy/candidates",
                vec!["/etc/noded-proxy/candidates", "/etc/noded-proxy"],
            ),
            ("/", vec!["/"]),
        ];
        for (directory, expected) in table {
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(reachable(Path::new(directory)), expected);
        }
    }

    #[test]
    fn a_report_says_what_is_missing() {
        let old = Report {
            no_new_privs: true,
            filesystem: true,
            ..Report::default()
        };
        assert_eq!(
            old.to_string(),
            "no_new_privs, filesystem (the kernel lacks network, signals)"
        );
        assert!(!old.is_complete());
    }
}
