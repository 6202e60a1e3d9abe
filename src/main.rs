//! Parse, configure, log, run; turn the result into one line and an exit status.

use std::process::ExitCode;

use clap::Parser;
use noded_proxy::commands::cli::{CertsCommand, Cli, Command};
use noded_proxy::commands::{certs, check, demo, explain, print, reset, status};
use noded_proxy::daemon::server;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(told) => return usage(&told),
    };
    match command {
        Command::Run(args) => server::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Digest(args) => print::digests(&args),
        Command::Status(args) => status::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Probe { address } => check::probe(address),
        Command::Explain(args) => explain::main(&args),
        Command::Certs {
            command: CertsCommand::List(args),
        } => certs::list(&args),
        Command::Reset(args) => reset::main(&args),
        Command::Man => print::man(),
        Command::Completions { shell } => print::completions(shell),
    }
}

/// Help and version go to standard output; what was typed wrongly is one line, as a wrong value in the file is.
#[allow(
    clippy::print_stderr,
    reason = "before logging starts there is only standard error"
)]
fn usage(told: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as Nothing;
    if !told.use_stderr() || told.kind() == Nothing {
        let _ = told.print();
        return ExitCode::from(if told.use_stderr() {
            server::EXIT_CONFIG
        } else {
            0
        });
    }
    let text = told.to_string();
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    eprintln!(
        "noded-proxy: {}",
        words.join(" ").trim_start_matches("error: ")
    );
    ExitCode::from(server::EXIT_CONFIG)
}
