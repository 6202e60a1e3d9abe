//! `noded-proxy ssh-keys`: takes away former keys of nodes that Ganeti leaves authorized; and where
//! Ganeti does not manage the keys, brings private ones to candidates alone.
//!
//! ```text
//!   args      what is typed
//!   here      what this node's files say
//!   node      what a node does for the master: look, change, keep, delete, undo
//!   make      makes a pair on this node
//!   attempt   logs in to others from this node
//!   ask       the master asks all nodes what they have
//!   possession  a node signs with the keys that it tells of
//!   show      the plan, as text
//!   turns     who had a turn in this run, and who failed it
//!   order     the master has one node do something, and proves it
//!   apply     the master has all nodes do it, one after the other
//!   pairs     the same where Ganeti does not manage the keys, in rounds
//!   jobs      waits for Ganeti's own jobs
//!   remember  whether anything has changed since the last time
//!   hooks     links to the hook of this package
//! ```
//!
//! [`rules::ssh_keys`] decides, [`crate::ssh_keys`] changes files; nothing here does either.

mod apply;
pub mod args;
mod ask;
mod attempt;
mod here;
mod hooks;
mod jobs;
mod make;
mod node;
mod order;
mod pairs;
mod possession;
mod remember;
mod show;
mod turns;

use std::process::ExitCode;

use super::exit;
use crate::config::{Config, FileArgs};
use args::{SshKeysArgs, SshKeysCommand as Command};

/// `noded-proxy ssh-keys`, to the exit status.
pub fn main(args: &SshKeysArgs) -> ExitCode {
    match &args.command {
        None => configured(&args.plan.place.file, |config| {
            apply::plan(&args.plan, config)
        }),
        Some(Command::Plan(plan)) => {
            configured(&plan.place.file, |config| apply::plan(plan, config))
        }
        Some(Command::Apply(apply)) => {
            configured(&apply.plan.place.file, |config| apply::apply(apply, config))
        }
        Some(Command::Hooks(args)) => ended(hooks::main(args)),
        Some(Command::Node(args)) => configured(&args.place.file, |config| node::run(args, config)),
    }
}

fn configured(file: &FileArgs, run: impl FnOnce(&Config) -> Result<bool, String>) -> ExitCode {
    match Config::load(file, &[]) {
        Ok(config) => ended(run(&config)),
        Err(problems) => exit::wrong_configuration(&problems),
    }
}

fn ended(done: Result<bool, String>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => exit::failure(why),
    }
}
