//! What is typed behind `noded-proxy verify`. Nothing is read or decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::commands::proxy_args::ProxyArgs;

/// Options of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Look at the tree of files below DIR instead of at this machine
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Look at all nodes of the cluster, from its master, over ssh
    #[arg(long, conflicts_with = "hook")]
    pub cluster: bool,
    /// How long each node may take with --cluster
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Print what was read, for the master that asks
    #[arg(long, hide = true, conflicts_with_all = ["cluster", "json", "nagios", "hook", "metrics"])]
    pub observed: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// Print one line for Nagios
    #[arg(long, conflicts_with = "json")]
    pub nagios: bool,
    /// Print one line of errors, for a hook of `gnt-cluster verify`
    #[arg(long, conflicts_with_all = ["json", "nagios"])]
    pub hook: bool,
    /// Also write metrics to FILE, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// The running proxy.
    #[command(flatten)]
    pub proxy: ProxyArgs,
}
