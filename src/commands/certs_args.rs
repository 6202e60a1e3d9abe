//! What `certs` can do, and its flags. Nothing is read or decided here.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::commands::admission_args::CertsListArgs;
use crate::config::FileArgs;

/// What `certs` can do.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List the candidates with what is known of their certificates.
    ///
    /// The running proxy is asked; if none answers, the files and the state directory are read.
    ///
    /// Exit status: 0 each candidate's certificate is known, 1 some is not, 64 wrong configuration.
    List(CertsListArgs),
    /// Give every node the candidates' certificates; on the master.
    ///
    /// It fetches the certificate of each master candidate, without its key, over Ganeti's ssh,
    /// compares it with the candidate map, and has each node put them into its `candidate_certs`.
    /// Offline nodes are left out, and nodes without noded-proxy.
    ///
    /// Exit status: 0 each node has them, 1 some node does not, 64 wrong configuration.
    Distribute(DistributeArgs),
    /// Take candidates' certificates from standard input (`certs distribute` runs it).
    ///
    /// What this node's own candidate map does not list is left out, and so is any key. Files
    /// that it made before and that are in the map no more are removed.
    ///
    /// Exit status: 0 each candidate's certificate is there, 1 some is not, 64 wrong configuration.
    Accept(AcceptArgs),
}

/// Options of `certs distribute`.
#[derive(Debug, Clone, Args)]
pub struct DistributeArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// Ask only the nodes that have not been given what this node has; if it lacks a candidate's
    /// certificate, ask all
    #[arg(long)]
    pub changed: bool,
    /// Be content where there is nothing to do: on a node that is not the master, and where
    /// candidate_certs is not set
    #[arg(long)]
    pub hook: bool,
    /// Wait while another run is under way, and do nothing where one waits already; DIR has the
    /// locks
    #[arg(long, value_name = "DIR")]
    pub turns: Option<PathBuf>,
}

/// Options of `certs accept`.
#[derive(Debug, Clone, Args)]
pub struct AcceptArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
}
