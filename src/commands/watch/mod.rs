//! `noded-proxy status --watch`: the same again and again, with what happens a second.
//!
//! It asks the running proxy alone. Colours and cursor movements are for a terminal; into a file or
//! pipe it writes plain text, one block after the other. Ctrl-C ends it.

mod rates;
mod screen;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::admin_client::{self, Error};
use super::output;
use crate::config::Config;
use crate::daemon::report::Report;
use crate::trust::now;
use rates::{Counts, Rates};
use screen::Paint;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Watches until it is interrupted, or until nobody reads it any more.
pub(super) fn main(config: &Config) -> ExitCode {
    let terminal = io::stdout().is_terminal();
    let paint = Paint::new(terminal && std::env::var_os("NO_COLOR").is_none());
    let mut before: Option<(Instant, Counts)> = None;
    loop {
        let text = match look(config) {
            Ok((report, counts)) => {
                let at = Instant::now();
                let rates = before.map(|(then, old)| Rates::between(old, counts, at - then));
                before = Some((at, counts));
                screen::render(&report, rates, now(), paint)
            }
            // It may be about to come back: a restart is what one watches.
            Err(error) => format!("{}\n", paint.bad(&error.to_string())),
        };
        let screen = match terminal {
            // From the top left, each line to its end, and all below it.
            true => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
            false => format!("{text}\n"),
        };
        output::bytes(screen.as_bytes()); // nothing in the report is obeyed: see `Answer::read`
        std::thread::sleep(EVERY);
    }
}

fn look(config: &Config) -> Result<(Report, Counts), Error> {
    let get = |path| admin_client::get(&config.admin_to_ask(), &config.state_dir, path);
    let report = get("/status")?.read()?;
    Ok((report, Counts::of(get("/metrics")?.text())))
}
