//! What is typed behind `noded-proxy moves`. Nothing is read or decided here.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What `moves` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum MovesCommand {
    /// Show Ganeti's throw-away keys and the transfers of this node.
    ///
    /// Exit status: 0 shown, 1 they cannot be read.
    List(PlaceArgs),
    /// Destroy the keys of finished and dead moves, and what dead transfers left.
    ///
    /// A key that a live process names stays; so does, until it has expired, one that no export of
    /// noded-proxy has used.
    ///
    /// Exit status: 0 done, or nothing to do, 1 something could not be removed.
    Clean(CleanArgs),
    /// Count one transfer for the metrics (the transfer runs it)
    #[command(hide = true)]
    Count(CountArgs),
}

/// Which files.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Ganeti's directory for running daemons
    #[arg(long, value_name = "DIR", default_value = "/run/ganeti")]
    pub run_dir: PathBuf,
}

/// Options of `clean`.
#[derive(Debug, Clone, Args)]
pub struct CleanArgs {
    /// Where they are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Wait until the keys that were used last are due (a transfer that has ended starts it)
    #[arg(long, hide = true)]
    pub wait: bool,
}

/// Options of `count`.
#[derive(Debug, Clone, Args)]
pub struct CountArgs {
    /// Where the state is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The transfer
    #[arg(long)]
    pub pid: u32,
    /// It receives
    #[arg(long)]
    pub import: bool,
    /// The file for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}
