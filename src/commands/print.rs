//! The small subcommands that print: digests, man page, completions.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what they are for"
)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::commands::cli::{Cli, DigestArgs};
use crate::config::Problem;
use crate::daemon::server::EXIT_CONFIG;
use crate::tls::certificates;

/// `noded-proxy digest FILE...`: the digest as the candidate map has it. With one file the digest alone, with
/// several `DIGEST FILE` a line.
pub fn digests(args: &DigestArgs) -> ExitCode {
    let mut exit = ExitCode::SUCCESS;
    for file in &args.files {
        let found = std::fs::read(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| certificates(&pem).map_err(|error| error.to_string()));
        match found {
            Ok(list) if args.files.len() == 1 => println!("{}", list[0].digest),
            Ok(list) => println!("{} {}", list[0].digest, file.display()),
            Err(why) => {
                eprintln!("noded-proxy: {}: {why}", file.display());
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}

/// What is wrong with the configuration, one line each; the exit status for it.
pub(crate) fn problems(found: &[Problem]) -> ExitCode {
    found
        .iter()
        .for_each(|problem| eprintln!("noded-proxy: {problem}"));
    ExitCode::from(EXIT_CONFIG)
}

/// The man page, from the same source as `--help`.
pub fn man() -> ExitCode {
    let mut page = Vec::new();
    let mut render = |command: clap::Command| clap_mangen::Man::new(command).render(&mut page);
    let mut command = Cli::command();
    command.build();
    let mut done = render(command.clone());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        done = done.and_then(|()| render(sub.clone()));
    }
    finish(done.and_then(|()| io::stdout().write_all(&page)))
}

/// Completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "noded-proxy", &mut io::stdout());
    ExitCode::SUCCESS
}

fn finish(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noded-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
