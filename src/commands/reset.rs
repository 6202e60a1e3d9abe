//! `noded-proxy reset`: forgets what the state directory remembers, and says what that means.
//!
//! It never touches Ganeti's files, and without `--force` nothing that a running proxy uses.

use std::process::ExitCode;

use crate::commands::cli::ResetArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::trust::forget;

/// Exit status 0 when there is nothing left, 1 when a proxy uses the directory or it cannot be
/// changed.
pub fn main(args: &ResetArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[&args.state]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let directory = config.state_dir.display();
    match forget(&config.state_dir, args.force) {
        Ok(Some(forgotten)) => {
            let map = if forgotten.map { "the" } else { "no" };
            outln!(
                "{directory}: forgot {map} last good candidate map and {} learned certificates.",
                forgotten.learned
            );
            outln!(
                "From the next start on, an absent or empty candidate map means the bootstrap \
                 phase again: until a map with entries is seen, the certificate of server.pem is \
                 admitted, and every node of the cluster holds that. Until each candidate has \
                 called once, the client CA list is empty."
            );
            if forgotten.sightings {
                outln!("It also forgot which certificate was seen from which node.");
            }
            if forgotten.master {
                outln!(
                    "It also forgot who is master: the node will believe the first master that \
                     ssconf_master_node names."
                );
            }
            if args.force {
                outln!(
                    "A proxy that runs still has all of it in memory, and writes it again within \
                     seconds: to forget, stop the proxy and reset once more."
                );
            }
            ExitCode::SUCCESS
        }
        Ok(None) => exit::failure(format_args!(
            "{directory}: a proxy uses it and has it in memory too. Stop the proxy first \
             (systemctl stop noded-proxy): it writes again what --force removes."
        )),
        Err(error) => exit::failure(format_args!("{directory}: {error}")),
    }
}
