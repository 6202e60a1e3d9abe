//! `noded-proxy reload`: asks a running proxy to hand over, and waits for the verdict.
//!
//! It never judges a file beyond the configuration: the new process does.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::admin_client;
use crate::commands::cli::ReloadArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::report::{Handover, Report};

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Longest wait for a verdict; the proxy waits 30 s for the new process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exit status 0 when a new process serves, 1 when the old one goes on, 64 wrong configuration.
pub fn main(args: &ReloadArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[&args.admin, &args.state]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    match reload(&config) {
        Ok(now) => {
            out!("process {} serves\n", now.pid);
            ExitCode::SUCCESS
        }
        Err(why) => exit::failure(why),
    }
}

fn reload(config: &Config) -> Result<Handover, String> {
    let before = look(config)?;
    let process = i32::try_from(before.pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or("the running proxy is older and does not hand over: restart it")?;
    kill_process(process, Signal::HUP)
        .map_err(|error| format!("process {}: {error}", before.pid))?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        sleep(LOOK_AGAIN);
        // Between two processes nobody may answer.
        let Ok(now) = look(config) else { continue };
        match now.failed {
            _ if now.tried <= before.tried && now.pid == before.pid => {}
            Some(why) => return Err(format!("nothing has changed: {why}")),
            None => return Ok(now),
        }
    }
    Err("no verdict came".into())
}

fn look(config: &Config) -> Result<Handover, String> {
    let answer = admin_client::get(config.admin, &config.state_dir, "/status");
    let report = answer.and_then(|answer| answer.read::<Report>());
    report
        .map(|report| report.handover)
        .map_err(|error| error.to_string())
}
