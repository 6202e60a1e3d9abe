//! What is typed to name the running proxy. Nothing is read or decided here.

use clap::Args;

use crate::config::{AdminArgs, FileArgs, Overrides, StateArgs, UpstreamArgs};

/// Options of `hook`, and of `verify` among others: the running proxy, and what it stands before.
#[derive(Debug, Clone, Default, Args)]
pub struct ProxyArgs {
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

impl ProxyArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        vec![&self.state, &self.admin, &self.upstream]
    }
}
