//! The master has all nodes do what is planned, one after the other. Each removal is proven by a new
//! login: `keep` comes by one. A node that cannot be logged in to undoes its change by itself. One
//! that fails keeps no other from being done.

use std::collections::{BTreeSet, HashSet};

use super::args::{ApplyArgs, PlanArgs};
use super::here::Here;
use super::order::{Order, deed, member, new_id, settle, still};
use super::remember::Run;
use super::turns::{Failed, Turns, tell_left};
use super::{ask, jobs, pairs, show};
use crate::commands::ssh::call::Ssh;
use crate::commands::ssh::members::Cluster;
use crate::config::Config;
use crate::ssh_keys::change::Change;
use crate::ssh_keys::kept::Kept;
use rules::ssh_keys::{Backup, Fingerprint, Node, Plan, Scene, Wishes, plan as judge};

const DAY: i64 = 86_400;
/// The lock of the master, and that of the one run of a hook which waits for it.
const LOCK: &str = "run";
const WAITS: &str = "waits";

/// Shows the plan; whether each node was seen.
pub(super) fn plan(args: &PlanArgs, config: &Config) -> Result<bool, String> {
    let here = Here::look(&args.place, config)?;
    let cluster = Cluster::read(&here.path(&config.ssconf_dir))?;
    cluster.must_be_master(&here.seen.host)?;
    if pairs::are_ours(&here) {
        return pairs::plan(args, config, &here, &cluster);
    }
    let plan = made(args, config, &here, &cluster, None)?;
    out!("{}", show::text(&plan));
    Ok(left(&plan).is_empty())
}

/// Does it; whether all is done.
pub(super) fn apply(args: &ApplyArgs, config: &Config) -> Result<bool, String> {
    let here = Here::look(&args.plan.place, config)?;
    let cluster = Cluster::read(&here.path(&config.ssconf_dir))?;
    if let Err(why) = cluster.must_be_master(&here.seen.host) {
        return not_here(args, why);
    }
    let kept = Kept::open(&here.root)?;
    let wait = args.wait || args.hook;
    let waits = match args.hook {
        false => None,
        // It has read nothing yet. With a node that is never done each hook has a run of some
        // minutes, and Ganeti calls one after each job.
        true => match kept.lock_if_free(WAITS)? {
            None => {
                outln!("nothing to do: another run waits that will see the same");
                return Ok(true);
            }
            held => held,
        },
    };
    let _lock = kept.lock(LOCK, wait)?;
    drop(waits);
    jobs::over(&here, config, wait)?;
    // What was read before the wait may be old.
    let here = Here::look(&args.plan.place, config)?;
    let cluster = Cluster::read(&here.path(&config.ssconf_dir))?;
    if let Err(why) = cluster.must_be_master(&here.seen.host) {
        return not_here(args, why);
    }
    if args.hook && Run::now(&here, config, Vec::new()).is_done(&kept) {
        outln!("nothing to do: nothing has changed since the last time");
        return Ok(true);
    }
    Run::begin(&kept)?;
    if pairs::are_ours(&here) {
        return pairs::apply(args, config, &here, &kept);
    }
    let mut turns = Turns::default();
    let plan = made(&args.plan, config, &here, &cluster, Some(&mut turns))?;
    out!("{}", show::text(&plan));
    let ssh = Ssh {
        cluster: &cluster,
        ssconf: &here.path(&config.ssconf_dir),
    };
    let doing = Doing {
        args,
        config,
        here: &here,
        ssh,
        masters_key: &plan.masters_key,
    };
    let mut left = left(&plan);
    left.extend(doing.all(&plan, turns));
    tell_left(&left);
    Run::now(&here, config, left.clone()).save(&kept)?;
    Ok(left.is_empty())
}

/// A hook runs on other nodes, too.
fn not_here(args: &ApplyArgs, why: String) -> Result<bool, String> {
    match args.hook {
        true => {
            outln!("nothing to do: {why}");
            Ok(true)
        }
        false => Err(why),
    }
}

/// With turns, what an earlier run has begun is settled first.
fn made(
    args: &PlanArgs,
    config: &Config,
    here: &Here,
    cluster: &Cluster,
    turns: Option<&mut Turns>,
) -> Result<Plan, String> {
    if args.pairs.own_pairs || args.pairs.shared_pair {
        return Err(
            "Ganeti manages the SSH keys of this cluster: each node has its own pair".into(),
        );
    }
    let ssconf = here.path(&config.ssconf_dir);
    let mut scene = Scene::of_master(&here.seen, &config.verify.allow_ssh_keys)?;
    let ssh = Ssh {
        cluster,
        ssconf: &ssconf,
    };
    match turns {
        None => scene.nodes = ask::all(ssh, &mut Turns::default()),
        Some(turns) => {
            scene.nodes = ask::all(ssh, turns);
            if settle(ssh, &scene.nodes, turns) {
                scene.nodes = ask::all(ssh, turns);
            }
        }
    }
    let wishes = Wishes {
        by_comment: args.by_comment,
        aside_before: Some(here.seen.at - i64::from(args.older_than) * DAY),
    };
    judge(&scene, &wishes)
}

/// Nodes that should have been done; an offline one is when it is back.
fn left(plan: &Plan) -> Vec<String> {
    let refused = plan.nodes.iter().filter(|node| {
        let why = node.refused.as_deref();
        why.is_some_and(|why| why != ask::OFFLINE)
    });
    refused.map(|node| node.name.clone()).collect()
}

struct Doing<'a> {
    args: &'a ApplyArgs,
    config: &'a Config,
    here: &'a Here,
    ssh: Ssh<'a>,
    masters_key: &'a Fingerprint,
}

impl Doing<'_> {
    /// All nodes; those that are not done. A backup is deleted when all lines are gone that only it
    /// proves.
    fn all(&self, plan: &Plan, mut turns: Turns) -> Vec<String> {
        let mut left = BTreeSet::new();
        let mut lines: HashSet<&Fingerprint> = HashSet::new();
        for node in plan.nodes.iter().filter(|node| !node.remove.is_empty()) {
            if !turns.give(&node.name, || self.remove(node)) {
                lines.extend(node.remove.iter().map(|(line, _)| &line.key));
                left.insert(node.name.clone());
            }
        }
        for node in &plan.nodes {
            let all = node.delete().filter(|backup| !lines.contains(&backup.key));
            let all: Vec<&Backup> = all.collect();
            if all.is_empty() || left.contains(&node.name) {
                continue;
            }
            if !turns.give(&node.name, || self.delete(node, &all)) {
                left.insert(node.name.clone());
            }
        }
        left.into_iter().collect()
    }

    fn remove(&self, node: &Node) -> Result<String, Failed> {
        let cluster = self.still()?;
        let member = member(&cluster, &node.name)?;
        let keys = node.remove.iter().map(|(line, _)| line.key.clone());
        let change = Change {
            id: new_id().map_err(Failed::Run)?,
            keys: keys.collect(),
            add: Vec::new(),
            pairs: None,
            must_stay: self.masters_key.clone(),
        };
        let order = Order {
            ssh: self.ssh,
            after: self.args.undo_after,
        };
        order.proven(member, &change)
    }

    /// Before each node: all of it takes a while, and Ganeti goes on.
    fn still(&self) -> Result<Cluster, Failed> {
        still(self.args, self.config, self.here).map_err(Failed::Run)
    }

    fn delete(&self, node: &Node, backups: &[&Backup]) -> Result<String, Failed> {
        let cluster = self.still()?;
        let member = member(&cluster, &node.name)?;
        let name = |backup: &&Backup| (backup.file.clone(), backup.key.clone());
        let names: Vec<(String, Fingerprint)> = backups.iter().map(name).collect();
        let order = serde_json::to_vec(&names).map_err(|error| Failed::Run(error.to_string()))?;
        let command = "noded-proxy ssh-keys node delete";
        deed(self.ssh, member, command, &order).map_err(Failed::Node)
    }
}
