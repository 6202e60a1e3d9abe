//! What is typed behind `noded-proxy verify`. Nothing is read or decided here.

use std::path::PathBuf;

use clap::Args;

use crate::config::{AdminArgs, FileArgs, Overrides, StateArgs, UpstreamArgs};

/// Options of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Look at the tree of files below DIR instead of at this machine
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
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
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// By its owner the proxy's user is known.
    #[command(flatten)]
    pub state: StateArgs,
    /// The running proxy to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Where noded is.
    #[command(flatten)]
    pub upstream: UpstreamArgs,
}

impl VerifyArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        vec![&self.state, &self.admin, &self.upstream]
    }
}
