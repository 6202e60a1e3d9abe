//! What is done on each node, and what keeps a node or the cluster from being changed. Pure: nothing
//! is done here.

use std::collections::{BTreeMap, HashSet};

use super::Fingerprint;
use super::backups::{self, Backup, Fate};
use super::line::{Kept, Proof, Verdict, judge};
use super::scene::{Files, Scene, Wishes};
use super::sight::{Line, Sight};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The master's present key: it must open every node, before and after.
    pub masters_key: Fingerprint,
    /// All nodes in the order of their turns: the candidates, the master, and then the others, which
    /// may be in hostile hands. So the doors that matter most are closed first, and what is wrong
    /// with the master's own way in is seen where nobody lies.
    pub nodes: Vec<Node>,
}

/// What is done on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Why nothing is done.
    pub refused: Option<String>,
    /// Lines that go.
    pub remove: Vec<(Line, Proof)>,
    /// Lines that stay, and why somebody should know.
    pub told: Vec<(Line, Kept)>,
    /// Private keys that were put aside.
    pub backups: Vec<Backup>,
}

impl Node {
    /// The backups that are deleted.
    pub fn delete(&self) -> impl Iterator<Item = &Backup> {
        let all = self.backups.iter();
        all.filter(|backup| backup.fate == Fate::Delete)
    }
}

/// What is done on all nodes; or why nothing can be.
pub fn plan(scene: &Scene, wishes: &Wishes) -> Result<Plan, String> {
    let no_key = "the master's own key is not the one that ganeti_pub_keys has for it: gnt-cluster \
                  renew-crypto --new-ssh-keys --no-ssh-key-check";
    let masters_key = scene.masters_key().ok_or(no_key)?.clone();
    let files = Files::of(scene);
    let verdict = |name, line| (line, judge(scene, &files, wishes, name, line));
    let mut verdicts: BTreeMap<&str, Vec<(&Line, Verdict)>> = BTreeMap::new();
    for (name, said) in &scene.nodes {
        let lines = said.iter().flat_map(|sight| &sight.lines);
        verdicts.insert(name, lines.map(|line| verdict(name, line)).collect());
    }
    let stay = verdicts.values().flat_map(|lines| {
        let changes = is_open(lines, &masters_key);
        let goes = move |verdict: &Verdict| changes && matches!(verdict, Verdict::Remove(_));
        lines.iter().filter(move |(_, verdict)| !goes(verdict))
    });
    let left: HashSet<&Fingerprint> = stay.map(|(line, _)| &line.key).collect();
    let left = scene.nodes.values().all(Result::is_ok).then_some(&left);
    let node = |(name, said): (&String, &Result<Sight, String>)| match said {
        Err(why) => refused(name, why.clone()),
        Ok(sight) => {
            let backups = backups::judge(scene, wishes, sight, left);
            of_node(name, verdicts.remove(name.as_str()), backups, &masters_key)
        }
    };
    let mut nodes: Vec<Node> = scene.nodes.iter().map(node).collect();
    nodes.sort_by_key(|node| (!scene.is_trusted(&node.name), node.name == scene.master));
    Ok(Plan { masters_key, nodes })
}

/// Whether the master comes in, and will.
fn is_open(lines: &[(&Line, Verdict)], masters_key: &Fingerprint) -> bool {
    let mut lines = lines.iter();
    lines.any(|(line, _)| line.key == *masters_key && !line.options)
}

fn refused(name: &str, why: String) -> Node {
    Node {
        name: name.into(),
        refused: Some(why),
        ..Node::default()
    }
}

fn of_node(
    name: &str,
    verdicts: Option<Vec<(&Line, Verdict)>>,
    backups: Vec<Backup>,
    masters_key: &Fingerprint,
) -> Node {
    let mut node = Node {
        name: name.into(),
        backups,
        ..Node::default()
    };
    let verdicts = verdicts.unwrap_or_default();
    let is_open = is_open(&verdicts, masters_key);
    for (line, verdict) in verdicts {
        match verdict {
            Verdict::Good => {}
            Verdict::Told(why) => node.told.push((line.clone(), why)),
            Verdict::Remove(proof) => node.remove.push((line.clone(), proof)),
        }
    }
    if !is_open {
        // However the master came in, it is not known what will be left of that.
        let why = "the master's key is not authorized there: gnt-cluster verify says more";
        node.refused = Some(why.into());
        node.remove.clear();
        node.backups.clear();
    }
    node
}
