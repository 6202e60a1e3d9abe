//! What was typed: the command line, source of `--help`, the man page and the completions.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::RunArgs;

/// Mutual TLS proxy in front of Ganeti's node daemon.
///
/// It owns the node's RPC port (TCP 1811), admits only clients whose certificate is in Ganeti's
/// candidate map, and forwards their RPCs to the unmodified ganeti-noded on loopback.
#[derive(Debug, Parser)]
#[command(name = "noded-proxy", version, about, max_term_width = 100)]
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
    /// SIGTERM and SIGINT drain: no new connections, running RPCs finish. SIGHUP reads the candidate map
    /// and server.pem again. Exit status: 0 drained, 1 the drain deadline passed or a fault, 64 wrong
    /// configuration.
    Run(RunArgs),
    /// Find everything that can be found wrong before a start.
    ///
    /// Takes the options of `run`. Exit status: 0 all good (warnings allowed), 1 something would fail, 64
    /// wrong configuration.
    Check(CheckArgs),
    /// Print the digest of certificates as the candidate map has it.
    Digest(DigestArgs),
    /// Show the status of a running proxy.
    Status(StatusArgs),
    /// Say what would be decided about a certificate now, why, and what to do about it.
    ///
    /// With a certificate: from the files and the state directory, as a proxy would. With --peer alone: the
    /// last refusals of that address, as the running proxy remembers them. Exit status: 0 admitted, 1 refused,
    /// 64 wrong configuration.
    Explain(ExplainArgs),
    /// What is known of the candidates' certificates.
    Certs {
        /// What to do.
        #[command(subcommand)]
        command: CertsCommand,
    },
    /// Forget the last good candidate map and the learned certificates.
    ///
    /// The next start begins as on a new node: an absent or empty candidate map is the bootstrap phase then,
    /// in which the certificate of server.pem is admitted.
    Reset(ResetArgs),
    /// Show the main job with throwaway certificates and an embedded stand-in for noded.
    Demo(DemoArgs),
    /// Exit with 0 if a TCP connection to ADDR:PORT is accepted (`check` runs it as another user).
    #[command(hide = true)]
    Probe {
        /// The address.
        address: SocketAddr,
    },
    /// Print the man page (roff) on standard output.
    #[command(hide = true)]
    Man,
    /// Print shell completions on standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// What would be run.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// Where Ganeti's NODED_ARGS are set
    #[arg(long, value_name = "FILE", default_value = "/etc/default/ganeti")]
    pub noded_defaults: PathBuf,
    /// Only what needs no other process: no port is tried and the node daemon is not asked
    #[arg(long)]
    pub offline: bool,
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
    /// Admin listener of the running proxy
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9811")]
    pub admin: SocketAddr,
    /// Print the JSON document as it comes
    #[arg(long)]
    pub json: bool,
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Leave everything running at the end and print commands to paste; Ctrl-C ends it
    #[arg(long)]
    pub keep: bool,
}

/// Options of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// PEM file; its first certificate counts, keys are skipped
    #[arg(value_name = "CERT", required_unless_present = "peer")]
    pub certificate: Option<PathBuf>,
    /// The address from which the certificate is shown; alone: explain the last refusals of this address
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<IpAddr>,
    /// What is or would be run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `certs` can do.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List the candidates with what is known of their certificates.
    ///
    /// Exit status: 0 each candidate's certificate is known, 1 some is not, 64 wrong configuration.
    List(CertsListArgs),
}

/// Options of `certs list`.
#[derive(Debug, Clone, Args)]
pub struct CertsListArgs {
    /// Do not ask the running proxy: read the files and the state directory
    #[arg(long)]
    pub files: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// What is or would be run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `reset`.
#[derive(Debug, Clone, Args)]
pub struct ResetArgs {
    /// Configuration file [default: /etc/noded-proxy/noded-proxy.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state directory [default: /var/lib/noded-proxy]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Also while a proxy uses it
    #[arg(long)]
    pub force: bool,
}
