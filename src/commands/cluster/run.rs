//! Does on the nodes what was planned, over Ganeti's ssh. Candidates come one after the other, and the
//! first that fails ends it. Normal nodes may be in hostile hands, or asleep: they come behind, so many
//! at a time, so that each holds up nobody but itself. It plans nothing.

use std::process::ExitCode;
use std::time::Duration;

use super::deeds::{Deed, Place, Proof, State, state};
use super::distribute::give_all;
use super::proof::call;
use crate::commands::exit;
use crate::commands::ssh::call::{Call, End, Ssh};
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::interrupt;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::{Config, FileArgs};

/// Nodes that are asked, or changed, at a time.
const AT_A_TIME: usize = 8;

/// A node's `install` is over by then; with `--wait` it waits until no RPC runs, however long.
const INSTALL: Duration = Duration::from_secs(15 * 60);

/// Exit status 0 done or shown, 1 refused or stopped, 64 wrong configuration.
pub(super) fn on_master(
    file: &FileArgs,
    what: impl FnOnce(&Run<'_>) -> Result<(), Vec<String>>,
) -> ExitCode {
    let config = match Config::load(file, &[]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    let done = master(&config)
        .map_err(|why| vec![why])
        .and_then(|cluster| {
            let ssh = Ssh {
                cluster: &cluster,
                ssconf: &config.ssconf_dir,
            };
            what(&Run { file, ssh })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            for line in lines {
                errln!("noded-proxy: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The cluster, if this node is its master.
fn master(config: &Config) -> Result<Cluster, String> {
    let cluster = Cluster::read(&config.ssconf_dir)?;
    let host = rustix::system::uname();
    cluster.must_be_master(&host.nodename().to_string_lossy())?;
    Ok(cluster)
}

/// What would be done.
pub(super) fn show(deeds: &[Deed], left: &[String]) {
    for deed in deeds {
        outln!("would {deed}");
    }
    for line in left {
        outln!("note  {line}");
    }
    outln!("note  nothing was done: --apply does it");
}

/// Asks each node what it has.
pub(super) fn look(ssh: Ssh<'_>) -> Vec<Place> {
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
pub(super) struct Run<'a> {
    file: &'a FileArgs,
    pub(super) ssh: Ssh<'a>,
}

impl Run<'_> {
    /// All of them, as far as it goes.
    pub(super) fn all<'d>(&self, deeds: &'d [Deed]) -> Done<'d> {
        let mut done = Done::default();
        for together in deeds.chunk_by(|one, next| one.is_apart() && next.is_apart()) {
            if done.stopped() {
                done.0
                    .extend(together.iter().map(|deed| (deed, Came::NotBegun)));
                continue;
            }
            let came = on_each(together, AT_A_TIME, |deed| self.one(deed));
            done.0.extend(together.iter().zip(came));
        }
        done
    }

    fn one(&self, deed: &Deed) -> Came {
        if interrupt::is_told() {
            return Came::NotBegun;
        }
        outln!("begin {deed}");
        let Err(why) = self.deed(deed) else {
            return Came::Done;
        };
        outln!("FAIL  {}: {why}", deed.place());
        match deed.stops() || interrupt::is_told() {
            true => Came::Stopped(why),
            false => Came::Failed(why),
        }
    }

    fn deed(&self, deed: &Deed) -> Result<(), String> {
        let (node, commands, proof) = match deed {
            Deed::Certificates => {
                return match give_all(&self.config()?, self.ssh.cluster)? {
                    true => Ok(()),
                    false => Err("not every node has the candidates' certificates".into()),
                };
            }
            Deed::Run {
                node,
                commands,
                proof,
                ..
            } => (node, commands, proof),
        };
        let mut members = self.ssh.cluster.members.iter();
        let member = members.find(|member| member.name == *node);
        let member = member.ok_or_else(|| format!("{node} is gone"))?;
        let mut commands = commands.iter();
        commands.try_for_each(|command| self.command(member, command))?;
        self.prove(member, proof)
    }

    /// This node's configuration as it is now: its own `install` may have changed it.
    fn config(&self) -> Result<Config, String> {
        Config::load(self.file, &[]).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            all.join("; ")
        })
    }

    /// Shows that this node gets through to that one, or has that one put back.
    fn prove(&self, member: &Member, proof: &Proof) -> Result<(), String> {
        if *proof == Proof::None {
            return Ok(());
        }
        let why = match self.config().and_then(|config| call(&config, &member.name)) {
            Ok(answer) => {
                outln!("      {}: from here: {answer}", member.name);
                return Ok(());
            }
            Err(why) => format!("the master does not get through: {why}"),
        };
        let Proof::OrElse(command, then) = proof else {
            return Err(format!("{why}. It is left as it is"));
        };
        outln!("      {}: {why}: {command}", member.name);
        match self.command(member, command) {
            Ok(()) => Err(format!("{why}. The node {then}")),
            Err(failed) => Err(format!("{why}. It is not put back, either: {failed}")),
        }
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

/// What a deed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Done,
    /// It failed, and the others went on.
    Failed(String),
    /// It failed, and nothing is begun after it.
    Stopped(String),
    NotBegun,
}

/// What all deeds came to, in their order.
#[derive(Debug, Default)]
pub(super) struct Done<'d>(Vec<(&'d Deed, Came)>);

impl<'d> Done<'d> {
    fn those(&self, is: fn(&Came) -> bool) -> impl Iterator<Item = &'d Deed> {
        let all = self.0.iter().filter(move |(_, came)| is(came));
        all.map(|(deed, _)| *deed)
    }

    fn stopped(&self) -> bool {
        let stops = |came: &Came| matches!(came, Came::Stopped(_) | Came::NotBegun);
        self.those(stops).next().is_some()
    }

    pub(super) fn begun(&self) -> Vec<&'d Deed> {
        self.those(|came| *came != Came::NotBegun).collect()
    }

    /// Where it failed.
    pub(super) fn failed(&self) -> Vec<&'d str> {
        let failed = |came: &Came| matches!(came, Came::Failed(_) | Came::Stopped(_));
        self.those(failed).map(Deed::place).collect()
    }

    fn is_all(&self) -> bool {
        self.0.iter().all(|(_, came)| *came == Came::Done)
    }

    /// Says how it ended: what could not follow, what came of the deeds, and what is to be said besides.
    pub(super) fn end(
        &self,
        left: Vec<String>,
        besides: Option<String>,
    ) -> Result<(), Vec<String>> {
        if self.is_all() && left.is_empty() {
            outln!("ok    {}", self.summary());
            if let Some(line) = besides {
                outln!("note  {line}");
            }
            return Ok(());
        }
        let mut lines = left;
        lines.extend(self.lines());
        lines.extend(besides);
        lines.push("put that right, then run the same again: it goes on from there".into());
        Err(lines)
    }

    /// What is done, in one line.
    fn summary(&self) -> String {
        let good = self.those(|came| *came == Came::Done);
        let good: Vec<String> = good.map(Deed::short).collect();
        match good.is_empty() {
            true => "nothing is done yet".into(),
            false => format!("done: {}", good.join(", ")),
        }
    }

    /// What is said when not all is done.
    fn lines(&self) -> Vec<String> {
        let told = |(deed, came): &(&Deed, Came)| match came {
            Came::Stopped(why) => Some(format!("stopped at {}: {why}", deed.place())),
            Came::Failed(why) => Some(format!(
                "failed on {}: {why}. It held up no other node",
                deed.place()
            )),
            Came::Done | Came::NotBegun => None,
        };
        let mut lines: Vec<String> = self.0.iter().filter_map(told).collect();
        lines.push(self.summary());
        let rest = self.those(|came| *came == Came::NotBegun);
        let rest: Vec<String> = rest.map(Deed::short).collect();
        lines.extend((!rest.is_empty()).then(|| format!("not begun: {}", rest.join(", "))));
        lines
    }
}
