//! `noded-proxy run`: configuration, then logging, then the daemon until it has drained. It builds
//! no part itself.

use std::process::ExitCode;

use tracing::error;

use crate::commands::cli::RunArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::handover::Heir;
use crate::daemon::logging;
use crate::daemon::server::{self, Outcome};

/// Exit status 0 drained, 1 cut or failed, 64 wrong configuration.
pub fn main(args: &RunArgs) -> ExitCode {
    let heir = match Heir::take() {
        Ok(heir) => heir,
        Err(why) => return exit::failure(why),
    };
    let fail = |why: String| {
        if let Some(heir) = &heir {
            heir.fail(why);
        }
    };
    let config = match Config::load(&args.admission.file, &args.overrides()) {
        Ok(config) => config,
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            fail(all.join("; "));
            return exit::wrong_configuration(&problems);
        }
    };
    let log = match logging::start(&config.log) {
        Ok(log) => log, // dropped at the end, when all is written
        Err(why) => {
            fail(why.to_string());
            return exit::failure(why);
        }
    };
    match server::serve(&config, &log, heir) {
        Ok(Outcome::Drained) => ExitCode::SUCCESS,
        Ok(Outcome::Cut(_)) => ExitCode::FAILURE,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}
