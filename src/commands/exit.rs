//! How the program ends: exit statuses, and the line on standard error that goes with them.
//!
//! Every command ends through here or with success and failure of its own; no room below knows an
//! exit status.

use std::fmt::Display;
use std::process::ExitCode;

use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as Nothing;

use crate::config::Problem;

/// Exit status for a wrong configuration or command line (EX_USAGE of sysexits.h).
pub(crate) const USAGE: u8 = 64;

/// A wrong configuration: one line for each problem, exit status 64.
pub(crate) fn wrong_configuration(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        errln!("noded-proxy: {problem}");
    }
    ExitCode::from(USAGE)
}

/// What went wrong, in one line, and exit status 1.
pub(crate) fn failure(why: impl Display) -> ExitCode {
    errln!("noded-proxy: {why}");
    ExitCode::FAILURE
}

/// What clap has to say. Help and version go to standard output; a wrong command line is one line,
/// as a wrong value in the file is. It has exit status 64, or this one.
pub fn usage(told: &clap::Error, instead: Option<u8>) -> ExitCode {
    let wrong = instead.unwrap_or(USAGE);
    if !told.use_stderr() || told.kind() == Nothing {
        let _ = told.print();
        return ExitCode::from(if told.use_stderr() { wrong } else { 0 });
    }
    let text = told.to_string();
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let words = words.join(" ");
    errln!("noded-proxy: {}", words.trim_start_matches("error: "));
    ExitCode::from(wrong)
}
