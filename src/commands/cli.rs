//! What is typed: the command line, and the one source of `--help`, the man pages and the
//! completions.
//!
//! Each command takes the flags that it uses and no others. Nothing is read or decided here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::import_export::args::ImportExportArgs;
use super::moves::args::MovesCommand;
use super::ssh_keys::args::SshKeysArgs;
use super::verify::args::VerifyArgs;
pub use crate::commands::admission_args::{AdmissionArgs, CertsListArgs, ExplainArgs};
pub use crate::commands::certs_args::CertsCommand;
use crate::commands::install::flags::{InstallArgs, UninstallArgs};
pub use crate::commands::proxy_args::ProxyArgs;
use crate::config::{
    AdminArgs, FileArgs, ListenArgs, ModeArgs, Overrides, ServiceArgs, StateArgs, UpstreamArgs,
};

/// Mutual TLS proxy in front of Ganeti's node daemon.
///
/// noded-proxy owns the node's RPC port (TCP 1811). It admits only clients whose certificate is in
/// Ganeti's candidate map, and forwards their RPCs to the unmodified ganeti-noded on loopback.
#[derive(Debug, Parser)]
#[command(name = "noded-proxy", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy in the foreground.
    ///
    /// SIGTERM and SIGINT drain the proxy: it takes no new connections, and running RPCs finish.
    /// SIGHUP has a fresh process take over, as `reload` does. Each flag wins over its key in the
    /// configuration file.
    ///
    /// Exit status: 0 all RPCs finished, 1 the drain timeout passed or a fault, 64 wrong
    /// configuration.
    Run(RunArgs),
    /// Check configuration, files, ports and noded before a start.
    ///
    /// It changes nothing. It takes those flags of `run` that change what it finds.
    ///
    /// Exit status: 0 no errors (warnings are allowed), 1 something would fail, 64 wrong
    /// configuration.
    Check(CheckArgs),
    /// Print digests of certificates as the candidate map has them.
    ///
    /// One file: its digest alone. Several files: one line with digest and file name for each.
    ///
    /// Exit status: 0 every file has a certificate, 1 some file has none.
    Digest(DigestArgs),
    /// Show the status of a running proxy.
    ///
    /// The configuration says where it is. Exit status: 0 it is ready and not degraded, 1
    /// otherwise, 64 wrong configuration.
    Status(StatusArgs),
    /// Have a fresh process take over from a running proxy.
    ///
    /// It runs program and configuration as they are on disk.
    /// `systemctl reload` runs it. The old process finishes its RPCs, however long they take, and
    /// ends then. If the new one cannot serve, nothing changes, and the reason is printed.
    ///
    /// Exit status: 0 the new process serves, 1 the old one goes on, 64 wrong
    /// configuration.
    Reload(ReloadArgs),
    /// Explain whether a certificate is admitted, why, and what to do.
    ///
    /// With a certificate: what a proxy would decide now, from the files and the state directory.
    /// With --peer alone: the last refusals of that address, as the running proxy remembers them.
    ///
    /// Exit status: 0 admitted, 1 refused or unknown, 64 wrong configuration.
    Explain(ExplainArgs),
    /// Show the candidates' certificates, or give them to all nodes.
    Certs {
        /// What to do.
        #[command(subcommand)]
        command: CertsCommand,
    },
    /// Forget the last good candidate map and the learned certificates.
    ///
    /// With rules in section `policy` it also forgets who is master: the node then believes the
    /// first master that ssconf_master_node names.
    ///
    /// The next start is then like that on a new node: while the candidate map is absent or empty,
    /// the node is in the bootstrap phase, in which the certificate of server.pem is admitted.
    ///
    /// Exit status: 0 all is forgotten, 1 a proxy uses the state directory or a fault, 64 wrong
    /// configuration.
    Reset(ResetArgs),
    /// Show the proxy at work, with throwaway certificates.
    ///
    /// It needs no Ganeti: a stand-in plays the node daemon.
    ///
    /// Exit status: 0 every step came out as expected, 1 otherwise.
    Demo(DemoArgs),
    /// Close noded's port to local users for as long as it runs.
    ///
    /// noded-proxy-guard.service runs it. It loads the firewall rules by nft, tries them, and says
    /// every second in a file that they hold. The proxy reads that file.
    ///
    /// Exit status: 0 after SIGTERM, 1 the rules cannot be loaded or are gone.
    Guard(GuardArgs),
    /// Put the proxy in front of this node's noded.
    ///
    /// Without --apply it says what it would do, line by line. It changes NODED_ARGS, starts the
    /// guard, restarts noded as this node does it, starts the proxy, and proves that all works. If
    /// anything fails, all is put back as it was. The program, the units, the guard's rules and the
    /// configuration must be there already.
    ///
    /// With --cluster, on the master: each node gets the proxy and enforces, candidates first, and
    /// then all get the candidates' certificates. It stops at the first candidate that is not right; a
    /// normal node holds up nobody. Run again, it goes on from there. Audit mode, only with --mode
    /// audit, is less than what Ganeti's own node daemon checks since 2.11.
    ///
    /// With --moves it does only that: `noded-proxy import-export` does this node's disk transfers from
    /// then on (moves, exports and imports of instances), in the place of Ganeti's own program, which is
    /// kept beside it. It needs no proxy, and reads no configuration.
    ///
    /// Exit status: 0 done, shown, or nothing to do; 1 refused or failed, and all is as before; 64
    /// wrong configuration.
    Install(InstallArgs),
    /// Put noded back in the place of the proxy.
    ///
    /// Without --apply it says what it would do, line by line. The file that sets NODED_ARGS gets
    /// its old bytes; if it was edited since, NODED_ARGS alone is changed back. Ganeti's own program
    /// does disk transfers again; with --moves nothing else is done. The files of the package stay.
    ///
    /// With --cluster, on the master: each node does it, candidates first. It stops at the first
    /// candidate that is not right; a normal node holds up nobody. Run again, it goes on from there.
    ///
    /// Exit status: as of `install`.
    Uninstall(UninstallArgs),
    /// Say in one line what is wrong, as a hook of gnt-cluster verify.
    ///
    /// It asks the running proxy, and tries noded's port as an ordinary user would.
    ///
    /// Exit status: 0 all is well, 1 something is wrong.
    Hook(ProxyArgs),
    /// Find faults of this node's certificates, SSH keys and files.
    ///
    /// It only reads. It sees what `gnt-cluster verify` does not: strangers in the candidate map,
    /// stolen certificates and keys, keys that are still authorized, open files. docs/verify.md
    /// tells of each finding. With --root it looks at a recorded tree and asks no proxy; the
    /// configuration is then read only if --config names it.
    ///
    /// With --cluster, on the master: all nodes at once, over the ssh that Ganeti itself uses. A node
    /// says what it has by its own noded-proxy, else a script reads its files; no secret leaves it. A
    /// node out of reach is a finding.
    ///
    /// Exit status: 0 nothing found, 1 findings, 2 not everything could be looked at, 64 wrong
    /// configuration. With --hook: 0 no error, 1 errors, 2 could not look. With --nagios: 0 OK, 1
    /// warnings, 2 errors, 3 could not look.
    Verify(VerifyArgs),
    /// Take away former SSH keys of nodes; on the master.
    ///
    /// Renewing SSH keys and re-adding a node leave the old ones authorized: whoever has one is root
    /// on every node. Without a command it plans, and changes nothing. A key goes only with a proof
    /// that it was a node's and is none any more; a stranger's is told, and stays. docs/ssh-keys.md
    /// tells of each proof.
    ///
    /// Exit status: as of `ssh-keys plan`.
    SshKeys(SshKeysArgs),
    /// Move a disk, in Ganeti's place (noded runs it).
    ///
    /// noded calls it through /usr/lib/ganeti/import-export, with the arguments of Ganeti's own
    /// program; there is no need to type it. Both ends show exactly the certificate that Ganeti gave
    /// them, and an end of the data is believed only if the sender said so. docs/moves.md tells what
    /// it prints and why.
    ///
    /// Exit status, as of Ganeti's program: 0 the transfer is whole and the command succeeded, 1 it
    /// failed, 2 wrong arguments.
    #[command(args_override_self = true)]
    ImportExport(ImportExportArgs),
    /// Show or destroy what moves of instances left here.
    Moves {
        /// What to do.
        #[command(subcommand)]
        command: MovesCommand,
    },
    /// The part of `import-export` that talks TLS (that one runs it).
    #[command(hide = true)]
    MoveChannel,
    /// Exit with 0 if a TCP connection to ADDR:PORT is accepted (`check` runs it as another user).
    #[command(hide = true)]
    Probe {
        /// The address.
        address: SocketAddr,
    },
    /// Start PROGRAM when the proxy asks for a successor (the proxy runs it).
    #[command(hide = true)]
    Spawner {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        #[arg(last = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Print the man pages, or write all of them to a directory.
    Man(ManArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Options of `run`: everything that can be overridden.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Files, state and admin listener.
    #[command(flatten)]
    pub admission: AdmissionArgs,
    /// Where clients come in.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Where the node daemon is.
    #[command(flatten)]
    pub upstream: UpstreamArgs,
    /// Which rule decides.
    #[command(flatten)]
    pub mode: ModeArgs,
    /// What only a running proxy uses.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl RunArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        let more: [&dyn Overrides; 4] = [&self.listen, &self.upstream, &self.mode, &self.service];
        self.admission.overrides(&more)
    }
}

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Files, state, and an admin port that must be free.
    #[command(flatten)]
    pub admission: AdmissionArgs,
    /// Ports that must be free.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// The node daemon to ask.
    #[command(flatten)]
    pub upstream: UpstreamArgs,
    /// Which rule decides.
    #[command(flatten)]
    pub mode: ModeArgs,
    /// File in which Ganeti's NODED_ARGS are set
    #[arg(long, value_name = "FILE", default_value = "/etc/default/ganeti")]
    pub noded_defaults: PathBuf,
    /// Try no port and do not ask the node daemon
    #[arg(long)]
    pub offline: bool,
    /// Print only warnings and errors
    #[arg(long)]
    pub quiet: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

impl CheckArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        self.admission
            .overrides(&[&self.listen, &self.upstream, &self.mode])
    }
}

/// Options of `digest`.
#[derive(Debug, Clone, Args)]
pub struct DigestArgs {
    /// PEM files; the first certificate of each counts, keys are skipped
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Options of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// The running proxy to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Print the JSON document of the proxy instead of text
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,
    /// Look again every 2 s, with rates, slots and the last refusals; Ctrl-C ends it
    #[arg(long)]
    pub watch: bool,
}

/// Options of `reload`.
#[derive(Debug, Clone, Args)]
pub struct ReloadArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// Where the running proxy is asked.
    #[command(flatten)]
    pub state: StateArgs,
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Leave everything running at the end and print commands to paste; Ctrl-C ends it
    #[arg(long)]
    pub keep: bool,
}

/// Options of `reset`.
#[derive(Debug, Clone, Args)]
pub struct ResetArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// The directory to clear.
    #[command(flatten)]
    pub state: StateArgs,
    /// Do it even while a proxy uses the directory; that proxy writes it again
    #[arg(long)]
    pub force: bool,
}

/// Options of `guard`.
#[derive(Debug, Clone, Args)]
pub struct GuardArgs {
    /// The firewall rules
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/noded-proxy/noded-proxy-guard.nft"
    )]
    pub rules: PathBuf,
    /// What it says of itself
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/noded-proxy-guard/state"
    )]
    pub state: PathBuf,
}

/// Options of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write one page for each command and one for the configuration file to this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
