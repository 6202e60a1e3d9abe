//! `noded-proxy uninstall --cluster`: puts noded back in the place of the proxy on all nodes, each by its
//! own `uninstall`, which takes all back if it fails. The order and the bounds are those of `install
//! --cluster`: the other way round, a normal node that sleeps would hold up the candidates. It changes
//! no node itself, and never goes on to the next candidate after one that failed.

use std::process::ExitCode;

use super::deeds::{Plan, State, back};
use super::run::{Run, look, on_master, show};
use crate::commands::install::flags::UninstallArgs;

/// Exit status 0 done or shown, 1 refused or stopped, 64 wrong configuration.
pub fn main(args: &UninstallArgs) -> ExitCode {
    on_master(&args.node.file, |run| roll_back(args, run))
}

fn roll_back(args: &UninstallArgs, run: &Run<'_>) -> Result<(), Vec<String>> {
    let places = look(run.ssh);
    for place in &places {
        let word = match place.state {
            State::Absent => "skip", // the removal of the package has put noded back
            _ => place.state.word(),
        };
        outln!("{word:<5} {}: {}", place.name, place.state);
    }
    let Plan { deeds, left } = back(&places, &args.node);
    if !args.node.apply {
        show(&deeds, &left);
        return Ok(());
    }
    run.all(&deeds).end(left, None)
}
