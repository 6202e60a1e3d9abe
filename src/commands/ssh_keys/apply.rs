//! The master has all nodes do what is planned, one after the other. Each removal is proven by a new
//! login: `keep` comes by one. A node that cannot be logged in to undoes its change by itself.

use super::args::{ApplyArgs, PlanArgs};
use super::here::Here;
use super::order::{Order, deed, new_id, still};
use super::remember::Run;
use super::{ask, jobs, pairs, show};
use crate::commands::ssh::call::Ssh;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use crate::ssh_keys::change::Change;
use crate::ssh_keys::kept::Kept;
use rules::ssh_keys::{Backup, Fingerprint, Node, Plan, Scene, Wishes, plan as judge};

const DAY: i64 = 86_400;
/// The lock of the master.
const LOCK: &str = "run";

/// Shows the plan; whether each node was seen.
pub(super) fn plan(args: &PlanArgs, config: &Config) -> Result<bool, String> {
    let here = Here::look(&args.place, config)?;
    let cluster = Cluster::read(&here.path(&config.ssconf_dir))?;
    cluster.must_be_master(&here.seen.host)?;
    if pairs::are_ours(&here) {
        return pairs::plan(args, config, &here, &cluster);
    }
    let plan = made(args, config, &here, &cluster)?;
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
    let _lock = kept.lock(LOCK, wait)?;
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
    let plan = made(&args.plan, config, &here, &cluster)?;
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
    left.extend(doing.all(&plan));
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

fn made(args: &PlanArgs, config: &Config, here: &Here, cluster: &Cluster) -> Result<Plan, String> {
    if args.pairs.own_pairs || args.pairs.shared_pair {
        return Err(
            "Ganeti manages the SSH keys of this cluster: each node has its own pair".into(),
        );
    }
    let ssconf = here.path(&config.ssconf_dir);
    let mut scene = Scene::of_master(&here.seen, &config.verify.allow_ssh_keys)?;
    scene.nodes = ask::all(Ssh {
        cluster,
        ssconf: &ssconf,
    });
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

/// One deed on one node, and what is told of it.
type Step<'a> = fn(&Doing<'a>, &Member, &Node) -> Result<String, String>;

struct Doing<'a> {
    args: &'a ApplyArgs,
    config: &'a Config,
    here: &'a Here,
    ssh: Ssh<'a>,
    masters_key: &'a Fingerprint,
}

impl<'a> Doing<'a> {
    /// All nodes; those that are not done. Backups are deleted when all lines are gone.
    fn all(&self, plan: &Plan) -> Vec<String> {
        for step in [Self::remove as Step<'a>, Self::delete] {
            for (at, node) in plan.nodes.iter().enumerate() {
                let mut members = self.ssh.cluster.members.iter();
                let Some(member) = members.find(|member| member.name == node.name) else {
                    continue;
                };
                match step(self, member, node) {
                    Ok(told) if told.is_empty() => {}
                    Ok(told) => outln!("ok    {}: {told}", node.name),
                    Err(why) => {
                        outln!("FAIL  {}: {why}", node.name);
                        let rest = plan.nodes[at..].iter();
                        return rest.map(|node| node.name.clone()).collect();
                    }
                }
            }
        }
        Vec::new()
    }

    fn remove(&self, member: &Member, node: &Node) -> Result<String, String> {
        if node.remove.is_empty() {
            return Ok(String::new());
        }
        self.still()?;
        let change = Change {
            id: new_id()?,
            keys: node
                .remove
                .iter()
                .map(|(line, _)| line.key.clone())
                .collect(),
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
    fn still(&self) -> Result<(), String> {
        still(self.args, self.config, self.here).map(|_| ())
    }

    fn delete(&self, member: &Member, node: &Node) -> Result<String, String> {
        let name = |backup: &Backup| (backup.file.clone(), backup.key.clone());
        let names: Vec<(String, Fingerprint)> = node.delete().map(name).collect();
        if names.is_empty() {
            return Ok(String::new());
        }
        let order = serde_json::to_vec(&names).map_err(|error| error.to_string())?;
        deed(self.ssh, member, "noded-proxy ssh-keys node delete", &order)
    }
}
