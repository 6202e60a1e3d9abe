//! `noded-proxy reload`: asks the running proxy to hand over, and waits for the verdict.
//!
//! It never judges a file beyond the configuration: the new process does. With a wrong configuration
//! it asks all the same, so that the running proxy, too, can say what is wrong.

use std::process::ExitCode;

use crate::commands::cli::ReloadArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::handover::ask_for_handover;
use rules::shown::inert_line;

/// Exit status 0 when a new process serves, 1 when the old one goes on, 64 wrong configuration.
pub fn main(args: &ReloadArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[&args.state]) {
        Ok(config) => config,
        Err(problems) => {
            let state_dir = args.state.state_dir.clone();
            let state_dir = state_dir.or_else(|| args.file.state_dir());
            return match state_dir.map(|dir| ask_for_handover(&dir)) {
                Some(Ok(pid)) => serves(pid), // somebody has put it right in between
                Some(Err(_)) | None => exit::wrong_configuration(&problems),
            };
        }
    };
    match ask_for_handover(&config.state_dir) {
        Ok(pid) => serves(pid),
        Err(why) => exit::failure(inert_line(&why)),
    }
}

fn serves(pid: u32) -> ExitCode {
    out!("process {pid} serves\n");
    ExitCode::SUCCESS
}
