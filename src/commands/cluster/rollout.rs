//! `noded-proxy install --cluster`: puts the proxy before noded on all nodes, one after the other.
//!
//! Each node does it by its own `install`, which takes all back if it fails. The first node that is
//! not right ends it: nothing is begun on another one. Run again, it goes on where it was.

use std::process::ExitCode;
use std::time::Duration;

use super::deeds::{Deed, Place, State, deeds, state};
use super::distribute::give_all;
use crate::commands::exit;
use crate::commands::install::flags::InstallArgs;
use crate::commands::ssh::call::{Call, End, Ssh};
use crate::commands::ssh::each::on_each;
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
    let all = deeds(&places, args)?;
    if !args.node.apply {
        for deed in &all {
            outln!("would {deed}");
        }
        outln!("note  nothing was done: --apply does it");
        return Ok(());
    }
    let run = Run { config, ssh };
    for (at, deed) in all.iter().enumerate() {
        outln!("begin {deed}");
        if let Err(why) = run.deed(deed) {
            return Err(stopped(&all, at, &why));
        }
    }
    outln!("ok    {}", summary(&all));
    Ok(())
}

/// Asks each node what it has.
fn look(ssh: Ssh<'_>) -> Vec<Place> {
    on_each(&ssh.cluster.members, AT_A_TIME, |member| Place {
        name: member.name.clone(),
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
    fn deed(&self, deed: &Deed) -> Result<(), String> {
        let (node, command) = match deed {
            Deed::Certificates => {
                // The first phase may have set `candidate_certs` on this node.
                return match give_all(self.config, self.ssh.cluster)? {
                    true => Ok(()),
                    false => Err("not every node has the candidates' certificates".into()),
                };
            }
            Deed::Run { node, command } => (node, command),
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

/// What is done, in one line.
fn summary(done: &[Deed]) -> String {
    let all: Vec<String> = done.iter().map(Deed::short).collect();
    match all.is_empty() {
        true => "nothing is done yet".into(),
        false => format!("done: {}", all.join(", ")),
    }
}

/// What is said when it stops at this deed.
fn stopped(all: &[Deed], at: usize, why: &str) -> Vec<String> {
    let rest: Vec<String> = all[at + 1..].iter().map(Deed::short).collect();
    let mut lines = vec![
        format!("stopped at {}: {why}", all[at].short()),
        summary(&all[..at]),
    ];
    lines.extend((!rest.is_empty()).then(|| format!("not begun: {}", rest.join(", "))));
    lines.push("put that right, then run the same again: it goes on from there".into());
    lines
}
