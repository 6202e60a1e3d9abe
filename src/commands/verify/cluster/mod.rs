//! `noded-proxy verify --cluster`: the master looks at all nodes at once, by the ssh that Ganeti
//! itself uses. Each node says what it has, the master alone judges, and of each answer only the
//! findings are kept.
//!
//! ```text
//!   ask       one node: by its own program, else by its files
//!   report    what was found, by node
//!   text      for people; json  as a document; line  for Nagios; metrics  for Prometheus
//!   progress  how far it is, at a terminal
//! ```

mod ask;
mod json;
mod line;
mod metrics;
mod progress;
mod report;
mod text;

use std::path::{Path, PathBuf};

use super::args::VerifyArgs;
use crate::commands::ssh::call::Ssh;
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::members::Cluster;
use crate::config::Config;
use crate::verify::Places;
use ask::{Asker, Interrupted};
use progress::Progress;
use report::{Node, Report};
use rules::verify::cluster::Master;
use rules::verify::observed::{Observed, Seen};

/// Nodes that are asked at a time: a login takes half a second, and an answer up to 4 MiB.
const AT_A_TIME: usize = 32;

/// Looks at all nodes and shows what was found; the exit status that goes with it, or why it could
/// not look. `own` is the master's look at itself.
pub(super) fn run(
    args: &VerifyArgs,
    config: &Config,
    places: Places,
    own: Observed,
) -> Result<u8, String> {
    let report = look(args, config, places, own)?;
    if let Some(path) = &args.metrics {
        metrics::write(path, &report)?;
    }
    if args.nagios {
        let (line, status) = line::nagios(&report);
        outln!("{line}");
        return Ok(status);
    }
    if args.json {
        outln!("{:#}", json::document(&report));
    } else {
        out!("{}", text::render(&report));
    }
    Ok(report.status())
}

fn look(
    args: &VerifyArgs,
    config: &Config,
    places: Places,
    own: Observed,
) -> Result<Report, String> {
    let ssconf = inside(args.root.as_deref(), &config.ssconf_dir);
    let cluster = Cluster::read(&ssconf)?;
    cluster.must_be_master(&own.host)?;
    can_be_compared(&own)?;
    let at = own.at;
    let asker = Asker {
        ssh: Ssh {
            cluster: &cluster,
            ssconf: &ssconf,
        },
        places,
        deadline: args.timeout,
        now: at,
        master: Master::of(own.clone()),
        allowed: &config.verify,
        reading: Default::default(),
    };
    let itself = asker.itself(own);
    let others = cluster.members.iter();
    let mut others: Vec<_> = others
        .filter(|member| member.name != cluster.master)
        .collect();
    others.sort_by_key(|member| member.offline); // the dead hold up nobody
    let progress = Progress::begin(others.len());
    let asked = on_each(&others, AT_A_TIME, |member| {
        let node = asker.node(member);
        progress.one_more();
        node
    });
    drop(progress);
    let asked: Result<Vec<Node>, Interrupted> = asked.into_iter().collect();
    let asked = asked.map_err(|Interrupted| "interrupted")?;
    let nodes: Vec<Node> = [itself].into_iter().chain(asked).collect();
    let held = nodes.iter().map(|node| (node.name.as_str(), &node.held));
    Ok(Report {
        in_common: asker.master.in_common(&held.collect(), &config.verify),
        nodes,
        at,
        master: cluster.master.clone(),
        cluster: cluster.name.clone(),
    })
}

/// Whether the others can be compared with what the master has.
fn can_be_compared(own: &Observed) -> Result<(), String> {
    if let Some(path) = own.forbidden.first() {
        return Err(format!("cannot read {path}: run it as root"));
    }
    match &own.configuration {
        Seen::Good(_) => Ok(()),
        Seen::Absent => Err("there is no config.data: is this the master?".into()),
        Seen::Faulty(why) => Err(format!("config.data: {why}")),
    }
}

/// A path of the node, in a recorded tree of it.
fn inside(root: Option<&Path>, path: &Path) -> PathBuf {
    match root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
