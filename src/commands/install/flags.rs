//! The flags of `install` and `uninstall`. Nothing is read or decided here.

use std::path::PathBuf;

use clap::Args;

use super::record::UNDO_DIR;
use super::settings::Wishes;
use crate::config::FileArgs;

/// Options of `install` and `uninstall`.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Where the configuration file is; without it, where the unit says.
    #[command(flatten)]
    pub file: FileArgs,
    /// Do it, and do not only say what would be done
    #[arg(long)]
    pub apply: bool,
    /// Wait until no RPC runs on this node; with --moves: no disk transfer
    #[arg(long, conflicts_with = "now")]
    pub wait: bool,
    /// Do it although RPCs, or disk transfers, run on this node
    #[arg(long)]
    pub now: bool,
    /// File in which Ganeti's NODED_ARGS are set [default: /etc/default/ganeti,
    /// /etc/sysconfig/ganeti or /usr/local/etc/default/ganeti, whichever is there]
    #[arg(long, value_name = "FILE")]
    pub noded_defaults: Option<PathBuf>,
    /// Ganeti's daemon-util [default: where Ganeti's packages put it]
    #[arg(long, value_name = "FILE")]
    pub daemon_util: Option<PathBuf>,
    /// Where root keeps what `uninstall` puts back
    #[arg(long, value_name = "DIR", default_value = UNDO_DIR)]
    pub undo_dir: PathBuf,
    /// Where Ganeti looks for hooks [default: /etc/ganeti/hooks, or as its daemon-util has it:
    /// /usr/local/etc/ganeti/hooks for an upstream Ganeti]
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Option<PathBuf>,
    /// The hooks of this package [default: /usr/share/noded-proxy/hooks or
    /// /usr/local/share/noded-proxy/hooks, whichever is there]
    #[arg(long, value_name = "DIR")]
    pub hooks_from: Option<PathBuf>,
    /// Ganeti's program for disk transfers [default: where Ganeti's packages put it]
    #[arg(long, value_name = "FILE")]
    pub import_export: Option<PathBuf>,
}

/// Options of `install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// How it is done.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Do it on all nodes, candidates first, over Ganeti's ssh; on the master
    #[arg(long)]
    pub cluster: bool,
    /// Have systemd hold the port, so that callers wait while the proxy is restarted
    #[arg(long)]
    pub socket: bool,
    /// Also put the hooks where Ganeti runs them
    #[arg(long)]
    pub hooks: bool,
    /// Also set admission.mode in the configuration; with --cluster, "audit" goes no further
    #[arg(long, value_name = "MODE", value_parser = ["enforce", "audit"])]
    pub mode: Option<String>,
    /// Also set candidate_certs in the configuration, if it names none, and make the directory
    #[arg(long, value_name = "DIR")]
    pub candidate_certs: Option<PathBuf>,
    /// Only this: have `noded-proxy import-export` do disk transfers, in the place of Ganeti's own
    #[arg(long, conflicts_with_all = ["cluster", "socket", "hooks", "mode", "candidate_certs"])]
    pub moves: bool,
}

impl InstallArgs {
    /// What is to be set in the configuration.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes {
            mode: self.mode.clone(),
            certs: self.candidate_certs.clone(),
        }
    }
}

/// Options of `uninstall`.
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// How it is done.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Do it on all nodes, candidates first, over Ganeti's ssh; on the master
    #[arg(long)]
    pub cluster: bool,
    /// Only this: have Ganeti's own program do disk transfers again
    #[arg(long, conflicts_with = "cluster")]
    pub moves: bool,
}
