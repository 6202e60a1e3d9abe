//! The sandbox that the process puts on itself: Landlock and `no_new_privs`. It takes rights away
//! and never gives any; the systemd unit has its own sandbox around it. And it keeps the keys in
//! memory from core dumps and from other processes, in every configuration.
//!
//! It is entered before there is a second thread, because only threads that are started later
//! inherit it. Landlock knows a directory by its inode. A directory that is removed and made again
//! (a node leaves and joins, a package is purged) has a new inode, and would be out of reach. So
//! the *parent* of each of Ganeti's directories is made readable, unless the parent is a top-level
//! directory. UDP and local sockets are not restricted here.

use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use serde::{Deserialize, Serialize};

use super::admin_socket;
use crate::config::{Config, Guard, SandboxMode};
use rules::{Named, named};

/// What stays allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Files and directories to read. Those that do not exist are left out.
    pub read: Vec<PathBuf>,
    /// Directories to write in.
    pub write: Vec<PathBuf>,
    /// Directory in which a local socket is made.
    pub sockets: Option<PathBuf>,
    /// Directories with programs to run, and what those load.
    pub run: Vec<PathBuf>,
    /// TCP ports to listen on; 0 means any that the kernel chooses.
    pub bind: Vec<u16>,
    /// TCP ports to connect to.
    pub connect: Vec<u16>,
}

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// No program that this process starts gets more rights than it has.
    pub no_new_privs: bool,
    /// Files outside the plan are out of reach.
    pub filesystem: bool,
    /// TCP ports outside the plan are out of reach (Linux 6.7).
    pub network: bool,
    /// This process can send signals to itself only (Linux 6.12).
    pub signals: bool,
}

// The label of `noded_proxy_sandbox`.
named! {
    /// A layer of the sandbox.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Layer {
        /// [`Report::no_new_privs`].
        NoNewPrivs = "no_new_privs",
        /// [`Report::filesystem`].
        Filesystem = "filesystem",
        /// [`Report::network`].
        Network = "network",
        /// [`Report::signals`].
        Signals = "signals",
    }
}

impl Report {
    /// Whether a layer is in force.
    pub fn has(self, layer: Layer) -> bool {
        match layer {
            Layer::NoNewPrivs => self.no_new_privs,
            Layer::Filesystem => self.filesystem,
            Layer::Network => self.network,
            Layer::Signals => self.signals,
        }
    }

    /// Whether all layers that confine an intruder are in force.
    pub fn is_complete(self) -> bool {
        self.no_new_privs && self.filesystem && self.network
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |wanted: bool| -> Vec<&str> {
            let layers = Layer::all().filter(|layer| self.has(*layer) == wanted);
            layers.map(|layer| layer.name()).collect()
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
    /// The kernel refused a call that it should support.
    #[error("Landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// The memory cannot be hidden.
    #[error("PR_SET_DUMPABLE: {0}")]
    Dumpable(#[from] rustix::io::Errno),
    /// `sandbox = "require"`, and a layer is missing.
    #[error("sandbox = require, but the kernel offers only: {0}")]
    Incomplete(Report),
}

/// Hides the memory, and enters the sandbox that the configuration asks for, if it asks for one.
pub fn start(config: &Config) -> Result<Option<Report>, Error> {
    // The key of server.pem must not reach a core dump, or a debugger of the same user. /proc/PID
    // then belongs to root; what a process reads there about itself stays readable.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if config.sandbox == SandboxMode::Off {
        return Ok(None);
    }
    let report = enter(&Plan::of(config))?;
    if config.sandbox == SandboxMode::Require && !report.is_complete() {
        return Err(Error::Incomplete(report));
    }
    Ok(Some(report))
}

/// What [`enter`] would put in force on this kernel. A thread tries it, and ends.
pub fn offered() -> Result<Report, Error> {
    let tried = std::thread::spawn(|| enter(&Plan::default()));
    tried.join().unwrap_or_else(|_| Ok(Report::default()))
}

/// Restricts the calling thread, and all threads that it starts, to the plan, for good. Restricts
/// as much as the kernel supports.
pub fn enter(plan: &Plan) -> Result<Report, Error> {
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let all = AccessFs::from_all(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all
        & !(AccessFs::Execute
            | AccessFs::MakeBlock
            | AccessFs::MakeChar
            | AccessFs::MakeFifo
            | AccessFs::IoctlDev);
    // It is made under another name and renamed.
    let socket = AccessFs::MakeSock | AccessFs::RemoveFile;
    let port =
        |access: AccessNet| move |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, access));
    let status = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&plan.read, read))?
        .add_rules(path_beneath_rules(&plan.write, write))?
        .add_rules(path_beneath_rules(&plan.run, read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&plan.sockets, socket))?
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

/// What every process of this program reads, with any configuration: numbers about itself, and the
/// configuration and modules of the system's OpenSSL.
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
        let guard = match &config.upstream.guard {
            Guard::Says(path) if !config.upstream.tls => Some(&**path),
            _ => None,
        };
        let files = [Some(&*config.server_pem), Some(&*map), bundle, guard];
        let mut read: Vec<PathBuf> = ALWAYS.map(PathBuf::from).into();
        let files = files.into_iter().flatten();
        let holders = files.clone().filter_map(Path::parent);
        for directory in directories.into_iter().flatten().chain(holders) {
            read.extend(reachable(directory));
            read.extend(behind_links(directory));
        }
        for file in files {
            read.extend(behind_links(file));
        }
        read.sort();
        read.dedup();
        let listen = config.listen.iter().map(|address| address.port());
        let socket = admin_socket::path(config);
        Self {
            read,
            write: vec![config.state_dir.clone()],
            sockets: socket.as_deref().and_then(Path::parent).map(PathBuf::from),
            run: Vec::new(),
            bind: listen.chain([config.admin.port()]).collect(),
            connect: vec![config.upstream.address.port()],
        }
    }
}

/// Where links lead: the file or directory itself, and what is around it, where another one is put
/// in its place.
fn behind_links(path: &Path) -> Vec<PathBuf> {
    let (Ok(path), Ok(target)) = (std::path::absolute(path), path.canonicalize()) else {
        return Vec::new();
    };
    if path == target {
        return Vec::new();
    }
    let around = target
        .parent()
        .filter(|parent| parent.components().count() > 2);
    let mut readable = around.map(reachable).unwrap_or_default();
    readable.push(target);
    readable
}

/// A directory, and its parent in case the directory is made anew; never a top-level directory such
/// as `/etc` or `/var`.
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
    use crate::config::NODED_PORT;

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
        assert_eq!(
            (plan.bind, plan.connect),
            (vec![1811, 9811], vec![NODED_PORT])
        );
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
    fn what_is_behind_a_link_is_reachable_and_so_is_what_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/map"), "").unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
            behind_links(&root.join(name))
        };
        let (map, real) = (root.join("real/map"), root.join("real"));
        assert_eq!(
            link("real/map", "map"),
            [real.clone(), root.clone(), map.clone()]
        );
        assert!(link("real", "link").contains(&real));
        assert_eq!(behind_links(&map), Vec::<PathBuf>::new());
        assert_eq!(link("/etc/hostname", "host"), [Path::new("/etc/hostname")]);
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
