//! The master has all nodes do what is planned, one after the other. Each removal is proven by a new
//! login: `keep` comes by one. A node that cannot be logged in to undoes its change by itself.

use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{ApplyArgs, PlanArgs};
use super::here::Here;
use super::remember::Run;
use super::{ask, jobs, show};
use crate::commands::ssh::call::{End, Ssh};
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use crate::ssh_keys::change::Removal;
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
        let removal = Removal {
            id: new_id()?,
            keys: node
                .remove
                .iter()
                .map(|(line, _)| line.key.clone())
                .collect(),
            must_stay: self.masters_key.clone(),
        };
        let (id, after) = (removal.id, self.args.undo_after);
        let order = serde_json::to_vec(&removal).map_err(|error| error.to_string())?;
        let remove = format!("noded-proxy ssh-keys node remove --undo-after {after}");
        let told = self.deed(member, &remove, &order)?;
        let proven = self.deed(
            member,
            &format!("noded-proxy ssh-keys node keep --id {id}"),
            b"",
        );
        proven.map_err(|why| {
            format!("no new login after the change: {why}; within {after} s the node undoes it")
        })?;
        Ok(told)
    }

    /// Before each node: all of it takes a while, and Ganeti goes on.
    fn still(&self) -> Result<(), String> {
        jobs::over(self.here, self.config, self.args.wait || self.args.hook)?;
        let ssconf = self.here.path(&self.config.ssconf_dir);
        Cluster::read(&ssconf)?.must_be_master(&self.here.seen.host)
    }

    fn delete(&self, member: &Member, node: &Node) -> Result<String, String> {
        let name = |backup: &Backup| (backup.file.clone(), backup.key.clone());
        let names: Vec<(String, Fingerprint)> = node.delete().map(name).collect();
        if names.is_empty() {
            return Ok(String::new());
        }
        let order = serde_json::to_vec(&names).map_err(|error| error.to_string())?;
        self.deed(member, "noded-proxy ssh-keys node delete", &order)
    }

    fn deed(&self, member: &Member, command: &str, order: &[u8]) -> Result<String, String> {
        let said = self.ssh.run(member, &ask::call(command, order));
        match said.end {
            End::Status(0) => Ok(said.line()),
            _ => Err(said.why()),
        }
    }
}

/// No two removals have the same.
fn new_id() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_err(|error| error.to_string())?;
    u64::try_from(since.as_nanos()).map_err(|error| error.to_string())
}
