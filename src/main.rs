//! Parses the command line, calls the command, ends with its exit status. Nothing else happens
//! here.

use std::process::ExitCode;

use clap::Parser;
use noded_proxy::commands::cli::{CertsCommand, Cli, Command};
use noded_proxy::commands::{
    as_nobody, certs, check, cluster, demo, digest, exit, explain, guard, hook, import_export,
    install, manual, moves, reload, reset, run, spawner, ssh_keys, status, verify,
};

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(told) => return exit::usage(&told, import_export::usage()),
    };
    match command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Digest(args) => digest::main(&args),
        Command::Reload(args) => reload::main(&args),
        Command::Spawner { program, arguments } => spawner::main(&program, &arguments),
        Command::Status(args) => status::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Certs { command } => match command {
            CertsCommand::List(args) => certs::list(&args),
            CertsCommand::Distribute(args) => cluster::distribute::main(&args),
            CertsCommand::Accept(args) => cluster::accept::main(&args),
        },
        Command::Reset(args) => reset::main(&args),
        Command::Guard(args) => guard::main(&args),
        Command::Install(args) if args.cluster => cluster::rollout::main(&args),
        Command::Install(args) => install::install(&args),
        Command::Uninstall(args) if args.cluster => cluster::rollback::main(&args),
        Command::Uninstall(args) => install::uninstall(&args),
        Command::Hook(args) => hook::main(&args),
        Command::Verify(args) => verify::main(&args),
        Command::SshKeys(args) => ssh_keys::main(&args),
        Command::ImportExport(args) => import_export::main(&args),
        Command::Moves { command } => moves::main(&command),
        Command::MoveChannel => import_export::channel::main(),
        Command::Demo(args) => demo::main(&args),
        Command::Probe { address } => as_nobody::probe(address),
        Command::Man(args) => manual::man(&args),
        Command::Completions { shell } => manual::completions(shell),
    }
}
