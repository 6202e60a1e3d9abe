//! `noded-proxy reset`: forget what the state directory remembers, and say what that means.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::process::ExitCode;

use crate::commands::cli::ResetArgs;
use crate::commands::print::problems;
use crate::config::Config;
use crate::config::RunArgs;
use crate::trust::forget;

/// Exit status 0 when there is nothing left, 1 when a proxy uses the directory or it cannot be changed.
pub fn main(args: &ResetArgs) -> ExitCode {
    let run = RunArgs {
        config: args.config.clone(),
        state_dir: args.state_dir.clone(),
        ..RunArgs::default()
    };
    let config = match Config::load(&run) {
        Ok(config) => config,
        Err(found) => return problems(&found),
    };
    let directory = config.state_dir.display();
    match forget(&config.state_dir, args.force) {
        Ok(Some(forgotten)) => {
            let map = if forgotten.map { "the" } else { "no" };
            println!(
                "{directory}: forgot {map} last good candidate map and {} learned certificates.",
                forgotten.learned
            );
            println!(
                "From the next start on an absent or empty candidate map is the bootstrap phase again: the \
                 certificate of server.pem, which every node of the cluster holds, is admitted until a map with \
                 entries was seen. Until each candidate has called once, the client CA list is empty."
            );
            if args.force {
                println!(
                    "A proxy that runs still has all of it in memory, and may write it again: restart it."
                );
            }
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!(
                "noded-proxy: {directory}: a proxy uses it and has it in memory too. Stop the proxy first \
                 (systemctl stop noded-proxy), or give --force and restart it afterwards."
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("noded-proxy: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}
