//! `noded-proxy install` and `uninstall`: put the proxy in front of this node's noded, and take it
//! away again. Without `--apply` they only say what they would do.
//!
//! `look` sees what is there, `plan` makes the steps of it (pure), `doing` does them and takes all
//! back when one fails. No file of the package is copied, and no file of Ganeti's is touched but the
//! one that sets noded's arguments, and with `--moves` the name of its program for transfers.

mod busy;
mod calls;
mod carry_out;
mod change;
mod confirm;
mod doing;
pub mod flags;
pub(in crate::commands) mod hooks;
pub(in crate::commands) mod hooks_dir;
mod kept;
mod look;
mod missing;
mod moves;
pub(in crate::commands) mod nodeds;
mod place;
mod plan;
mod proof;
pub(in crate::commands) mod record;
#[cfg(test)]
mod samples;
mod settings;
mod step;
mod undo;
mod units;

use std::process::ExitCode;

use crate::commands::check::{self, Verdict};
use crate::commands::exit;
use crate::config::Config;
use busy::busy;
use carry_out::carry_out;
use doing::{Around, say};
use flags::{InstallArgs, NodeArgs, UninstallArgs};
use look::Node;
use plan::{Plan, Seen, Source};
use record::Keep;
use step::Step;

/// Why it is not done.
enum Refusal {
    /// One line for each reason.
    Because(Vec<String>),
    Configuration(Vec<crate::config::Problem>),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Because(vec![why])
    }
}

/// Exit status 0 done or shown, 1 refused or failed (all is as before), 64 wrong configuration.
pub fn install(args: &InstallArgs) -> ExitCode {
    if args.moves {
        return end(as_root("install").and_then(|()| Ok(moves::install(&args.node)?)));
    }
    end(run("install", &args.node, |node, config, seen| {
        let missing = missing::missing(node, args.socket, config);
        if !missing.is_empty() {
            return Err(Refusal::Because(missing));
        }
        let defaults = Node::defaults(&args.node);
        let findings = check::look(config, &defaults, true);
        let errors = findings.iter().filter(|f| f.verdict == Verdict::Error);
        let errors: Vec<String> = errors.map(|f| format!("{}: {}", f.id, f.message)).collect();
        if !errors.is_empty() {
            return Err(Refusal::Because(errors));
        }
        let mut plan = plan::install(seen, args.socket)?;
        plan.notes.extend(without_a_cluster(config, seen)?);
        if args.hooks {
            hooks::add(&mut plan, &hooks::found(&args.node))?;
        }
        let files = node.settings(&args.node)?;
        settings::add(&mut plan, &files, &args.wishes(), seen.proxy.active)?;
        confirm(seen, &plan)?;
        Ok(plan)
    }))
}

/// What is said where there is no `server.pem`. Where noded runs there is one, and the proxy would
/// wait for it in another place while nobody can command the node.
fn without_a_cluster(config: &Config, seen: &Seen) -> Result<Option<String>, String> {
    let path = config.server_pem.display();
    match (config.server_pem.exists(), seen.noded_runs()) {
        (true, _) => Ok(None),
        (false, false) => Ok(Some(format!(
            "{path} is not there: this node is in no cluster yet, and the proxy will wait for it"
        ))),
        (false, true) => Err(format!(
            "{path} is not there, though noded runs: set server_pem, ssconf_dir and candidate_map \
             in the configuration to where this node's Ganeti has them (/var/lib/ganeti, or \
             /usr/local/var/lib/ganeti)"
        )),
    }
}

/// Exit status as of `install`.
pub fn uninstall(args: &UninstallArgs) -> ExitCode {
    if args.moves {
        return end(as_root("uninstall").and_then(|()| Ok(moves::uninstall(&args.node)?)));
    }
    end(run("uninstall", &args.node, |node, _, seen| {
        let mut plan = undo::uninstall(seen)?;
        settings::take_away(&mut plan, &node.settings(&args.node)?);
        hooks::take_away(&mut plan, &hooks::ever_put(&args.node));
        moves::take_away(&mut plan, &args.node);
        confirm(seen, &plan)?;
        Ok(plan)
    }))
}

fn end(done: Result<(), Refusal>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Configuration(problems)) => exit::wrong_configuration(&problems),
        Err(Refusal::Because(lines)) => {
            for line in lines {
                errln!("noded-proxy: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn as_root(name: &str) -> Result<(), Refusal> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(format!("{name}: only root can look at all of it: run it as root").into()),
    }
}

/// Looks, plans, and shows or does it.
fn run(
    name: &str,
    args: &NodeArgs,
    plan: impl FnOnce(&Node, &Config, &Seen) -> Result<Plan, Refusal>,
) -> Result<(), Refusal> {
    as_root(name)?;
    let node = Node::look()?;
    let config = node.config(args).map_err(Refusal::Configuration)?;
    let mut keep = Keep::open(&args.undo_dir)?;
    let seen = node.seen(args, &config, &keep)?;
    if let Some(record) = &seen.record {
        record.is_of(&seen.path)?;
    }
    let plan = plan(&node, &config, &seen)?;
    for note in &plan.notes {
        say("note", note);
    }
    if plan.steps.is_empty() {
        if args.apply {
            keep.end()?; // an earlier run that was killed, and nothing is left to do of it
        }
        say("ok", "nothing to do: all is as it should be");
        return Ok(());
    }
    let around = Around {
        defaults: Node::defaults(args),
        public: seen.public,
        noded: (seen.source.clone(), seen.path.clone()),
        config: config.clone(),
    };
    let running = || busy(&plan, || calls::running(&config, &seen));
    carry_out(name, args, &plan, running, (Some(around), keep)).map_err(Refusal::from)
}

/// Has the shell confirm a change of the file that it reads.
fn confirm(seen: &Seen, plan: &Plan) -> Result<(), String> {
    let write = plan.steps.iter().find_map(|step| match step {
        Step::Write(write) => Some(write).filter(|write| write.path == seen.path),
        _ => None,
    });
    let (Some(write), Source::Variable { by_systemd: false }) = (write, &seen.source) else {
        return Ok(());
    };
    let content = |side: &Option<Vec<u8>>| side.clone().unwrap_or_default();
    let (old, new) = (content(&write.from), content(&write.to));
    let (was, value) = (change::value(&old)?, change::value(&new)?);
    confirm::confirm((&old, &was), (&new, &value)).map_err(|why| {
        let name = write.path.display();
        format!("{name}: NODED_ARGS cannot be changed safely: {why}. Change it by hand")
    })
}
