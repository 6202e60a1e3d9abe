//! `noded-proxy import-export`: what Ganeti's program of that name does, called by noded in its
//! place, with the same arguments, status file and exit statuses.
//!
//! This process runs Ganeti's commands and writes the status. The TLS is in a process of its own
//! ([`channel`]); what comes from there is never run, and never decides alone that a transfer is
//! good.

pub mod args;
pub mod channel;
mod group;
mod outcome;
mod run;
mod start;
mod status;
mod telling;

use std::path::Path;
use std::process::ExitCode;

use args::ImportExportArgs;
use start::Names;
use status::{StatusFile, log};
use telling::Telling;

use crate::commands::exit;
use crate::config::{Config, FileArgs, MovesConfig, MovesMetrics};
use crate::node::ssconf::Ssconf;

/// Exit status of Ganeti's program for a wrong command line, as Python's programs have it.
const USAGE: u8 = 2;

/// The same, if this program was started in the place of Ganeti's.
pub fn usage() -> Option<u8> {
    let command = std::env::args_os().nth(1);
    (command? == "import-export").then_some(USAGE)
}

/// Exit status 0 when the transfer is whole and the command succeeded.
pub fn main(args: &ImportExportArgs) -> ExitCode {
    let status = StatusFile::new(&args.status);
    let order = match args.typed().order() {
        Ok(order) => order,
        Err(wrong) => {
            log(&wrong.to_string());
            if args.status.is_absolute() {
                let mut status = status;
                status.set(|status| status.cannot_begin(&wrong.to_string()));
            }
            return ExitCode::from(if wrong.is_usage() { USAGE } else { 1 });
        }
    };
    let file = FileArgs {
        config: args.config.clone(),
    };
    let config = config(&file);
    let telling = Telling::new(&config, &order);
    let names = own_names(&config.ssconf_dir);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => match runtime.block_on(run::run(order, names, status, telling)) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        Err(error) => exit::failure(error),
    }
}

/// What is wrong with the configuration is told, and the transfer goes on without numbers.
fn config(file: &FileArgs) -> Config {
    Config::load(file, &[]).unwrap_or_else(|problems| {
        problems
            .iter()
            .for_each(|problem| log(&problem.to_string()));
        Config {
            moves: MovesConfig {
                metrics: MovesMetrics::Off,
            },
            ..Config::default()
        }
    })
}

/// The names that Ganeti's exporter may know this node by. Ganeti's own are only as good as its
/// files: what cannot be read is left out.
fn own_names(ssconf_dir: &Path) -> Names {
    let mut ssconf = Ssconf::default();
    let _ = ssconf.read(ssconf_dir, |_| false);
    ssconf.names_of(&rustix::system::uname().nodename().to_string_lossy())
}
