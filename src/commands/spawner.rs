//! `noded-proxy spawner`: starts successors. The proxy runs it, nobody else does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::commands::exit;
use crate::daemon::handover::spawner_main;

/// Exit status 0 when the proxy has ended or was replaced.
pub fn main(program: &PathBuf, arguments: &[OsString]) -> ExitCode {
    match spawner_main(program, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => exit::failure(why),
    }
}
