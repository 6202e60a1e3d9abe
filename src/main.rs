//! Parse, configure, log, run; turn the result into one line and an exit status.

use std::process::ExitCode;

use clap::Parser;
use noded_proxy::cli::{Cli, Command};
use noded_proxy::{check, demo, print, server};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => server::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Digest(args) => print::digests(&args),
        Command::Status(args) => print::status(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Probe { address } => check::probe(address),
        Command::Man => print::man(),
        Command::Completions { shell } => print::completions(shell),
    }
}
