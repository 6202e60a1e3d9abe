//! What is typed behind `noded-proxy ssh-keys`. Nothing is read or decided here.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::FileArgs;

/// What `ssh-keys` is told.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SshKeysArgs {
    /// What to do; without it, `plan`.
    #[command(subcommand)]
    pub command: Option<SshKeysCommand>,
    /// How to plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// What `ssh-keys` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum SshKeysCommand {
    /// Say which keys would be taken away on which node, each with its proof; on the master.
    ///
    /// Where Ganeti does not manage the keys (--no-ssh-init, before 2.13), say which node would get or
    /// lose which private key. It changes nothing.
    ///
    /// Exit status: 0 all nodes were seen, 1 some was not, or nothing can be said, 64 wrong
    /// configuration.
    Plan(PlanArgs),
    /// Take them away, one node after the other; on the master.
    ///
    /// Where Ganeti does not manage the keys, private keys come to the master candidates and go from
    /// all other nodes.
    ///
    /// A node puts all back by itself unless the master logs in there afresh within --undo-after. A
    /// node that fails keeps no other from being done, and is named at the end; only if the master
    /// cannot log in any more to itself or to a candidate, nothing more is done. Former contents of
    /// authorized_keys stay in /var/lib/noded-proxy-ssh-keys on each node.
    ///
    /// Exit status: 0 done, or nothing to do, 1 refused or failed, or some node was not reached, 64
    /// wrong configuration.
    Apply(ApplyArgs),
    /// Put the hooks where Ganeti runs them, on this node.
    ///
    /// They run `apply` on the master after nodes were added or modified. Without them nothing is
    /// done until somebody does it. `uninstall` takes them away, too.
    ///
    /// Exit status: 0 done, 1 something else is in their place.
    Hooks(HooksArgs),
    /// What the master has a node do (`plan` and `apply` run it there).
    #[command(hide = true)]
    Node(NodeArgs),
}

/// Which files.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// Take the files below DIR for this machine's
    #[arg(long, value_name = "DIR", hide = true)]
    pub root: Option<PathBuf>,
}

/// Options of `ssh-keys plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Which files.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Also take away keys that only their comment, root@NODE, says were a node's: a key that an
    /// administrator made there has the same
    #[arg(long)]
    pub by_comment: bool,
    /// Delete private keys that Ganeti put aside more than DAYS days ago
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub older_than: u16,
    /// Of pairs.
    #[command(flatten)]
    pub pairs: PairArgs,
}

/// What is asked for where Ganeti does not manage the keys.
#[derive(Debug, Clone, Copy, Args)]
pub struct PairArgs {
    /// Where Ganeti does not manage the keys: give each master candidate a pair of its own, and take
    /// the shared one away; from then on this is kept up without the option
    #[arg(long)]
    pub own_pairs: bool,
    /// There, too: take the master's pair for the one that the candidates share, though no other node
    /// has it
    #[arg(long)]
    pub shared_pair: bool,
}

/// Options of `ssh-keys apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// What is planned.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Wait up to 15 minutes for Ganeti's jobs that change keys, and for another `apply`
    #[arg(long)]
    pub wait: bool,
    /// Be content on a node that is not the master, wait, and do nothing if neither nodes, their
    /// roles nor their keys have changed since the last time
    #[arg(long)]
    pub hook: bool,
    /// How long a node waits for the login that proves it can be reached, before it undoes
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub undo_after: u16,
}

/// Options of `ssh-keys hooks`.
#[derive(Debug, Clone, Args)]
pub struct HooksArgs {
    /// Take them away again
    #[arg(long)]
    pub remove: bool,
    /// Where Ganeti looks for hooks [default: /etc/ganeti/hooks, or as its daemon-util has it:
    /// /usr/local/etc/ganeti/hooks for an upstream Ganeti]
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Option<PathBuf>,
    /// The hooks of this package [default: /usr/share/noded-proxy/hooks or
    /// /usr/local/share/noded-proxy/hooks, whichever is there]
    #[arg(long, value_name = "DIR")]
    pub hooks_from: Option<PathBuf>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deed {
    /// Say which keys are here.
    Look,
    /// Do what standard input says.
    Change,
    /// The change `--id` is proven.
    Keep,
    /// Delete the backups that standard input names.
    Delete,
    /// Undo the change `--id` after a time.
    Undo,
    /// Undo a change of key files that nobody has proven; one of lines is proven by this login.
    Settle,
    /// Make a pair that waits, for the file that standard input names.
    Make,
    /// Log in to the nodes that standard input names.
    Try,
}

/// Options of `ssh-keys node`.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// What.
    pub deed: Deed,
    /// Which change.
    #[arg(long, default_value_t = 0)]
    pub id: u64,
    /// When it is undone, in seconds.
    #[arg(long, default_value_t = 120)]
    pub undo_after: u16,
    /// Which files.
    #[command(flatten)]
    pub place: PlaceArgs,
}
