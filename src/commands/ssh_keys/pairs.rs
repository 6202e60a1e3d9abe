//! Where Ganeti does not manage the keys: the master brings private keys to candidates, and takes them
//! from all other nodes. It works in rounds: it looks at all nodes, does what comes first, and looks
//! again. So a run that was killed is gone on with by the next one. It decides nothing.
//!
//! A node that fails is one that was not seen, for the rest of the run: the others lose what they must
//! lose, and nothing is done for which that node is needed.

use std::fmt::Write;
use std::path::Path;

use super::args::{ApplyArgs, PlanArgs};
use super::attempt::Attempt;
use super::here::Here;
use super::order::{Order, deed, member, new_id, settle, still, unsettled};
use super::remember::Run;
use super::turns::{Failed, Turns, tell_left};
use super::{ask, show};
use crate::commands::ssh::call::Ssh;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use crate::node::ssh::keys::{Held, held};
use crate::node::tree::Content;
use crate::ssh_keys::change::Change;
use crate::ssh_keys::kept::Kept;
use crate::ssh_keys::pair::{Given, Pairs};
use rules::ssh_keys::pairs::{Need, Node, Phase, Plan, Scene, Wishes, plan as judge};

/// Largest file with a key.
const MOST_KEY: usize = 64 << 10;

/// Whether Ganeti leaves the keys of this cluster alone.
pub(super) fn are_ours(here: &Here) -> bool {
    let configured = here.seen.configuration.good();
    configured.is_some_and(|configured| !configured.manages_keys())
}

/// Shows the plan; whether each node was seen.
pub(super) fn plan(
    args: &PlanArgs,
    config: &Config,
    here: &Here,
    cluster: &Cluster,
) -> Result<bool, String> {
    let scene = look(config, here, cluster, &mut Turns::default())?;
    let plan = judge(&scene, &wishes(args))?;
    out!("{}", text(&plan, &unsettled(&scene.nodes)));
    Ok(left(&plan, &Turns::default()).is_empty())
}

/// Does it; whether all is done.
pub(super) fn apply(
    args: &ApplyArgs,
    config: &Config,
    here: &Here,
    kept: &Kept,
) -> Result<bool, String> {
    let (mut wishes, mut turns) = (wishes(&args.plan), Turns::default());
    let mut is_first = true;
    loop {
        let cluster = still(args, config, here)?;
        let ssconf = here.path(&config.ssconf_dir);
        let ssh = Ssh {
            cluster: &cluster,
            ssconf: &ssconf,
        };
        // Roles may have changed since the last round.
        let here = &Here::look(&args.plan.place, config)?;
        let mut scene = look(config, here, &cluster, &mut turns)?;
        if settle(ssh, &scene.nodes, &mut turns) {
            scene = look(config, here, &cluster, &mut turns)?;
        }
        let plan = judge(&scene, &wishes)?;
        if is_first {
            out!("{}", text(&plan, &[]));
        }
        is_first = false;
        wishes.own_pairs |= plan.list.own_pairs; // begun is begun, whoever has noted it by now
        let doing = Doing {
            args,
            config,
            here,
            order: Order {
                ssh,
                after: args.undo_after,
            },
            plan: &plan,
        };
        // It comes to an end: each round is somebody's turn, and nobody has them without end.
        if let Some(phase) = plan.phase() {
            doing.all(phase, &mut turns);
        }
        if plan.phase().is_none() || turns.is_over() {
            let left = left(&plan, &turns);
            tell_left(&left);
            Run::now(here, config, left.clone()).save(kept)?;
            return Ok(left.is_empty());
        }
    }
}

fn wishes(args: &PlanArgs) -> Wishes {
    Wishes {
        own_pairs: args.pairs.own_pairs,
        shared_pair: args.pairs.shared_pair,
    }
}

/// What all nodes say. One that should answer and does not is not asked again in this run.
fn look(
    config: &Config,
    here: &Here,
    cluster: &Cluster,
    turns: &mut Turns,
) -> Result<Scene, String> {
    let ssconf = here.path(&config.ssconf_dir);
    let mut scene = Scene::of_master(&here.seen, &config.verify.allow_ssh_keys)?;
    let ssh = Ssh {
        cluster,
        ssconf: &ssconf,
    };
    scene.nodes = ask::all(ssh, turns);
    Ok(scene)
}

/// Nodes that should have been done; an offline one is when it is back.
fn left(plan: &Plan, turns: &Turns) -> Vec<String> {
    let is_left = |node: &&Node| match node.refused.as_deref() {
        Some(why) => why != ask::OFFLINE,
        None => {
            let mut needs = node.needs.iter();
            let is_cut_off = turns.is_over() && needs.any(|need| need.phase().is_some());
            is_cut_off || turns.lost(&node.name).is_some()
        }
    };
    let left = plan.nodes.iter().filter(is_left);
    left.map(|node| node.name.clone()).collect()
}

/// What is done first, for each node.
fn text(plan: &Plan, unsettled: &[String]) -> String {
    let mut text = String::new();
    for node in &plan.nodes {
        show::pairs_of(&mut text, node, unsettled.contains(&node.name));
    }
    let needs = plan.nodes.iter().flat_map(|node| &node.needs);
    let (waits, needs): (Vec<&Need>, Vec<&Need>) =
        needs.partition(|need| matches!(need, Need::Wait(_)));
    let what = match plan.list.own_pairs {
        true => "each master candidate has a pair of its own",
        false => "the master candidates share one pair",
    };
    let _ = match (needs.len(), waits.len()) {
        (0, 0) => writeln!(text, "{what}: nothing to do"),
        (0, _) => writeln!(text, "{what}: nothing to do until then"),
        _ => writeln!(text, "{what}"),
    };
    text
}

struct Doing<'a> {
    args: &'a ApplyArgs,
    config: &'a Config,
    here: &'a Here,
    order: Order<'a>,
    plan: &'a Plan,
}

impl Doing<'_> {
    /// All nodes in one phase. Candidates that change to their own pairs do it one after the other
    /// and only while that works: what fails there leaves the shared pair as everybody's way in.
    fn all(&self, phase: Phase, turns: &mut Turns) {
        let nodes = self.plan.nodes.iter();
        for node in nodes.filter(|node| node.in_phase(phase).next().is_some()) {
            let is_good = turns.give(&node.name, || self.one(phase, node));
            if !is_good && phase == Phase::Switch {
                return;
            }
        }
    }

    fn one(&self, phase: Phase, node: &Node) -> Result<String, Failed> {
        let cluster = still(self.args, self.config, self.here).map_err(Failed::Run)?;
        let member = member(&cluster, &node.name)?;
        if phase == Phase::Make {
            let order = serde_json::to_vec(&self.plan.file);
            let order = order.map_err(|error| Failed::Run(error.to_string()))?;
            let command = "noded-proxy ssh-keys node make";
            deed(self.order.ssh, member, command, &order).map_err(Failed::Node)?;
            return Ok("a pair of its own made, which waits".into());
        }
        let change = self.change(phase, member, node).map_err(Failed::Node)?;
        match phase {
            Phase::Switch => self.switch(member, &change),
            _ => self.order.proven(member, &change),
        }
    }

    /// What a node is told in this phase.
    fn change(&self, phase: Phase, member: &Member, node: &Node) -> Result<Change, String> {
        let mut change = Change {
            id: new_id()?,
            keys: [].into(),
            add: Vec::new(),
            pairs: None,
            must_stay: self.plan.masters_key.clone(),
        };
        let mut pairs = Pairs {
            list: self.plan.list.clone(),
            place: self.plan.file.clone(),
            take: [].into(),
            give: None,
            switch: false,
            unstage: false,
        };
        for need in node.in_phase(phase) {
            match need {
                Need::Add(of, pair) => change.add.push(pair.line(of)),
                Need::Give if !member.candidate => return Err("it is no candidate any more".into()),
                Need::Give => pairs.give = Some(self.own_pair()?),
                Need::Switch => pairs.switch = true,
                Need::Remove(line, _) => drop(change.keys.insert(line.key.clone())),
                Need::Take(key, ..) => drop(pairs.take.insert(key.clone())),
                Need::Unstage => pairs.unstage = true,
                Need::Make | Need::List | Need::Wait(_) => {}
            }
        }
        change.pairs = Some(pairs);
        Ok(change)
    }

    /// The candidate proves its own key before it uses it, and once more afterwards.
    fn switch(&self, member: &Member, change: &Change) -> Result<String, Failed> {
        let seen = self.plan.nodes.iter().filter(|node| node.refused.is_none());
        let nodes: Vec<String> = seen.map(|node| node.name.clone()).collect();
        let attempt = |staged| {
            let nodes = nodes.clone();
            let order = serde_json::to_vec(&Attempt { staged, nodes });
            let order = order.map_err(|error| error.to_string())?;
            deed(
                self.order.ssh,
                member,
                "noded-proxy ssh-keys node try",
                &order,
            )
        };
        attempt(true).map_err(Failed::Node)?;
        let told = self.order.begun(member, change).map_err(Failed::Node)?;
        if let Err(why) = attempt(false) {
            let id = change.id;
            let undo = format!("noded-proxy ssh-keys node undo --id {id} --undo-after 0");
            let after = self.order.after;
            return Err(Failed::Node(
                match deed(self.order.ssh, member, &undo, b"") {
                    Ok(_) => format!("{why}; it has its former pair again"),
                    Err(_) => format!("{why}; within {after} s it has its former pair again"),
                },
            ));
        }
        self.order.keep(member, change.id)?;
        Ok(told)
    }

    /// The master's own pair, which is the shared one.
    fn own_pair(&self) -> Result<Given, String> {
        let directory = Path::new(&self.here.seen.ssh.directory);
        let read = |name: &str| match self.here.tree.read(&directory.join(name), MOST_KEY) {
            Content::Good(content) => String::from_utf8(content.to_vec()).ok(),
            _ => None,
        };
        let file = &self.plan.file;
        let mut keys = self.here.seen.ssh.key_files.iter();
        let is_it = keys.any(|key| {
            let fingerprint = key.key.good().map(|key| &key.fingerprint);
            key.name == *file && fingerprint == Some(&self.plan.masters_key.to_string())
        });
        let private = read(file).filter(|_| is_it);
        let private = private.ok_or_else(|| format!("the master's {file} cannot be read"))?;
        let public = read(&format!("{file}.pub"));
        let public = public.ok_or_else(|| format!("the master's {file}.pub cannot be read"))?;
        match held(public.as_bytes()) {
            Held::Public(key) if key.fingerprint == self.plan.masters_key.to_string() => {
                Ok(Given { private, public })
            }
            _ => Err(format!("the master's {file}.pub is that of another key")),
        }
    }
}
