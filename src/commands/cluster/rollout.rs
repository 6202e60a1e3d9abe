//! `noded-proxy install --cluster`: puts the proxy before noded on all nodes, one after the other.
//!
//! Each node does it by its own `install`, which takes all back if it fails. The first node that is
//! not right ends it: nothing is begun on another one. Run again, it goes on where it was.

use std::process::ExitCode;

use super::deeds::{Deed, Place, State, deeds, state};
use super::distribute::give_all;
use super::members::{Cluster, Member};
use super::ssh;
use crate::commands::exit;
use crate::commands::install::flags::InstallArgs;
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
    let places = look(config, &cluster);
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
    let run = Run {
        config,
        cluster: &cluster,
    };
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
fn look(config: &Config, cluster: &Cluster) -> Vec<Place> {
    let all = cluster.members.iter();
    all.map(|member| Place {
        name: member.name.clone(),
        state: match member.offline {
            true => State::Offline,
            false => state(&ssh::run(
                cluster,
                member,
                &config.ssconf_dir,
                "noded-proxy status --json",
                b"",
            )),
        },
    })
    .collect()
}

/// What the deeds need.
struct Run<'a> {
    config: &'a Config,
    cluster: &'a Cluster,
}

impl Run<'_> {
    fn deed(&self, deed: &Deed) -> Result<(), String> {
        let (node, command) = match deed {
            Deed::Certificates => {
                // The first phase may have set `candidate_certs` on this node.
                return match give_all(self.config, self.cluster)? {
                    true => Ok(()),
                    false => Err("not every node has the candidates' certificates".into()),
                };
            }
            Deed::Run { node, command } => (node, command),
        };
        let mut members = self.cluster.members.iter();
        let member = members.find(|member| member.name == *node);
        let member = member.ok_or_else(|| format!("{node} is gone"))?;
        self.command(member, command)?;
        self.command(member, "noded-proxy check --quiet")
    }

    /// One command; what it says is passed on.
    fn command(&self, member: &Member, command: &str) -> Result<(), String> {
        let mut pass_on = |line: &str| outln!("      {}: {line}", member.name);
        let ssconf = &self.config.ssconf_dir;
        let command = format!("{command} 2>&1");
        let said = ssh::run_and_show(self.cluster, member, ssconf, &command, &mut pass_on);
        match said.status {
            0 => Ok(()),
            255 => Err(said.why()),
            status => Err(format!("`{command}`: exit status {status}")),
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
