//! `noded-proxy install --cluster`: puts the proxy before noded on all nodes.
//!
//! Each node does it by its own `install`, which takes all back if it fails. The first candidate that
//! is not right ends it; a normal node may be hostile, and holds up nobody. Run again, it goes on.

use std::process::ExitCode;

use super::deeds::{Plan, in_audit, plan};
use super::run::{Run, look, on_master, show};
use crate::commands::install::flags::InstallArgs;

/// Exit status 0 done or shown, 1 refused or stopped, 64 wrong configuration.
pub fn main(args: &InstallArgs) -> ExitCode {
    on_master(&args.node.file, |run| roll_out(args, run))
}

fn roll_out(args: &InstallArgs, run: &Run<'_>) -> Result<(), Vec<String>> {
    let places = look(run.ssh);
    for place in &places {
        outln!("{:<5} {}: {}", place.state.word(), place.name, place.state);
    }
    let Plan { deeds, left } = plan(&places, args)?;
    if !args.node.apply {
        show(&deeds, &left);
        return Ok(());
    }
    let done = run.all(&deeds);
    let audit = audit_lines(&in_audit(&places, &done.begun(), &done.failed()));
    done.end(left, audit)
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
