//! `noded-proxy install --cluster`: puts the proxy before noded on all nodes.
//!
//! Each node does it by its own `install`, which takes all back if it fails. The first candidate that
//! is not right ends it; a normal node may be hostile, and holds up nobody. Run again, it goes on.

use std::process::ExitCode;

use super::deeds::{Plan, in_audit, plan};
use super::run::{Run, look};
use crate::commands::exit;
use crate::commands::install::flags::InstallArgs;
use crate::commands::ssh::call::Ssh;
use crate::commands::ssh::members::Cluster;
use crate::config::Config;

/// Exit status 0 done or shown, 1 refused or stopped, 64 wrong configuration.
pub fn main(args: &InstallArgs) -> ExitCode {
    let config = match Config::load(&args.node.file, &[]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    match roll_out(args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            for line in lines {
                errln!("noded-proxy: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn roll_out(args: &InstallArgs, config: &Config) -> Result<(), Vec<String>> {
    let because = |why: String| vec![why];
    let cluster = Cluster::read(&config.ssconf_dir).map_err(because)?;
    let host = rustix::system::uname();
    let is_master = cluster.must_be_master(&host.nodename().to_string_lossy());
    is_master.map_err(because)?;
    let ssh = Ssh {
        cluster: &cluster,
        ssconf: &config.ssconf_dir,
    };
    let places = look(ssh);
    for place in &places {
        outln!("{:<5} {}: {}", place.state.word(), place.name, place.state);
    }
    let Plan { deeds, left } = plan(&places, args)?;
    if !args.node.apply {
        for deed in &deeds {
            outln!("would {deed}");
        }
        for line in left {
            outln!("note  {line}");
        }
        outln!("note  nothing was done: --apply does it");
        return Ok(());
    }
    let done = Run { config, ssh }.all(&deeds);
    let audit = audit_lines(&in_audit(&places, &done.begun(), &done.failed()));
    if done.is_all() && left.is_empty() {
        outln!("ok    {}", done.summary());
        if let Some(line) = audit {
            outln!("note  {line}");
        }
        return Ok(());
    }
    let mut lines = left;
    lines.extend(done.lines());
    lines.extend(audit);
    lines.push("put that right, then run the same again: it goes on from there".into());
    Err(lines)
}

/// What is said of nodes in audit mode.
fn audit_lines(nodes: &[String]) -> Option<String> {
    (!nodes.is_empty()).then(|| {
        format!(
            "in audit mode, so that the certificate of any node commands them: {}. `noded-proxy \
             install --cluster --apply` ends it",
            nodes.join(", ")
        )
    })
}
