//! `noded-proxy install --cluster`: puts the proxy before noded on all nodes, one after the other.
//!
//! Each node does it by its own `install`, which takes all back if it fails. The first candidate that
//! is not right ends it; a normal node may be hostile, and holds up nobody. Run again, it goes on.

use std::process::ExitCode;
use std::time::Duration;

use super::deeds::{Deed, Place, Plan, State, in_audit, plan, state};
use super::distribute::give_all;
use crate::commands::exit;
use crate::commands::install::flags::InstallArgs;
use crate::commands::ssh::call::{Call, End, Ssh};
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::interrupt;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;

/// Nodes that are asked at a time what they have.
const AT_A_TIME: usize = 8;

/// A node's `install` is over by then; with `--wait` it waits until no RPC runs, however long.
const INSTALL: Duration = Duration::from_secs(15 * 60);

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
    let failed: Vec<String> = done.failed.iter().map(|(name, _)| name.clone()).collect();
    let audit = audit_lines(&in_audit(&places, &deeds[..done.begun], &failed));
    if done.failed.is_empty() && left.is_empty() && done.begun == deeds.len() {
        outln!("ok    {}", done.summary(&deeds));
        if let Some(line) = audit {
            outln!("note  {line}");
        }
        return Ok(());
    }
    let mut lines = left;
    lines.extend(done.lines(&deeds));
    lines.extend(audit);
    lines.push("put that right, then run the same again: it goes on from there".into());
    Err(lines)
}

/// Asks each node what it has.
fn look(ssh: Ssh<'_>) -> Vec<Place> {
    on_each(&ssh.cluster.members, AT_A_TIME, |member| Place {
        name: member.name.clone(),
        candidate: member.candidate || member.name == ssh.cluster.master,
        state: match member.offline {
            true => State::Offline,
            false => state(&ssh.run(member, &Call::new("noded-proxy status --json"))),
        },
    })
}

/// What the deeds need.
struct Run<'a> {
    config: &'a Config,
    ssh: Ssh<'a>,
}

impl Run<'_> {
    /// One after the other, as far as it goes.
    fn all(&self, deeds: &[Deed]) -> Done {
        let mut done = Done::default();
        for deed in deeds {
            outln!("begin {deed}");
            done.begun += 1;
            let Err(why) = self.deed(deed) else { continue };
            let name = deed.place().to_owned();
            outln!("FAIL  {name}: {why}");
            done.failed.push((name, why));
            done.stopped = deed.stops() || interrupt::is_told();
            if done.stopped {
                break;
            }
        }
        done
    }

    fn deed(&self, deed: &Deed) -> Result<(), String> {
        let (node, command) = match deed {
            Deed::Certificates => {
                // This node's own `install` may have set `candidate_certs`.
                return match give_all(self.config, self.ssh.cluster)? {
                    true => Ok(()),
                    false => Err("not every node has the candidates' certificates".into()),
                };
            }
            Deed::Run { node, command, .. } => (node, command),
        };
        let mut members = self.ssh.cluster.members.iter();
        let member = members.find(|member| member.name == *node);
        let member = member.ok_or_else(|| format!("{node} is gone"))?;
        self.command(member, command)?;
        self.command(member, "noded-proxy check --quiet")
    }

    /// One command; what it says is passed on.
    fn command(&self, member: &Member, command: &str) -> Result<(), String> {
        let mut pass_on = |line: &str| outln!("      {}: {line}", member.name);
        let command = format!("{command} 2>&1");
        let call = Call {
            deadline: INSTALL,
            ..Call::new(&command)
        };
        let said = self.ssh.run_and_show(member, &call, &mut pass_on);
        match said.end {
            End::Status(0) => Ok(()),
            End::Status(status) => Err(format!("`{command}`: exit status {status}")),
            _ => Err(said.why()),
        }
    }
}

/// How far it came.
#[derive(Debug, Default)]
struct Done {
    begun: usize,
    /// Where, and why.
    failed: Vec<(String, String)>,
    /// Nothing is begun after the last one that failed.
    stopped: bool,
}

impl Done {
    /// What is done, in one line.
    fn summary(&self, deeds: &[Deed]) -> String {
        let failed = |deed: &&Deed| self.failed.iter().any(|(name, _)| name == deed.place());
        let good = deeds[..self.begun].iter().filter(|deed| !failed(deed));
        let good: Vec<String> = good.map(Deed::short).collect();
        match good.is_empty() {
            true => "nothing is done yet".into(),
            false => format!("done: {}", good.join(", ")),
        }
    }

    /// What is said when not all is done.
    fn lines(&self, deeds: &[Deed]) -> Vec<String> {
        let last = self.failed.len().saturating_sub(1);
        let mut lines = Vec::new();
        for (at, (name, why)) in self.failed.iter().enumerate() {
            lines.push(match self.stopped && at == last {
                true => format!("stopped at {name}: {why}"),
                false => format!("failed on {name}: {why}. It held up no other node"),
            });
        }
        lines.push(self.summary(deeds));
        let rest: Vec<String> = deeds[self.begun..].iter().map(Deed::short).collect();
        lines.extend((!rest.is_empty()).then(|| format!("not begun: {}", rest.join(", "))));
        lines
    }
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
