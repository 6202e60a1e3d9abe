//! `noded-proxy reload`: asks the running proxy to hand over, and waits for the verdict.
//!
//! It never judges a file beyond the configuration: the new process does.

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
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    match ask_for_handover(&config.state_dir) {
        Ok(pid) => {
            out!("process {pid} serves\n");
            ExitCode::SUCCESS
        }
        Err(why) => exit::failure(inert_line(&why)),
    }
}
