//! What is done on each node, and what keeps a node or the cluster from being changed.

use super::Fingerprint;
use super::backups::{self, Backup, Fate};
use super::line::{Kept, Proof, Verdict, judge};
use super::scene::{Scene, Wishes};
use super::sight::{Line, Sight};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The master's present key: it must open every node, before and after.
    pub masters_key: Fingerprint,
    /// All nodes, by name; the master is the last.
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
                  renew-crypto --new-ssh-keys";
    let masters_key = scene.masters_key().ok_or(no_key)?.clone();
    let mut nodes: Vec<Node> = scene
        .nodes
        .iter()
        .map(|(name, said)| match said {
            Ok(sight) => of_node(scene, wishes, name, sight, &masters_key),
            Err(why) => refused(name, why.clone()),
        })
        .collect();
    nodes.sort_by_key(|node| node.name == scene.master);
    Ok(Plan { masters_key, nodes })
}

fn refused(name: &str, why: String) -> Node {
    Node {
        name: name.into(),
        refused: Some(why),
        ..Node::default()
    }
}

fn of_node(
    scene: &Scene,
    wishes: &Wishes,
    name: &str,
    sight: &Sight,
    masters_key: &Fingerprint,
) -> Node {
    let mut node = Node {
        name: name.into(),
        backups: backups::judge(scene, wishes, sight),
        ..Node::default()
    };
    for line in &sight.lines {
        match judge(scene, wishes, name, line) {
            Verdict::Good => {}
            Verdict::Told(why) => node.told.push((line.clone(), why)),
            Verdict::Remove(proof) => node.remove.push((line.clone(), proof)),
        }
    }
    let opens = |line: &Line| line.key == *masters_key && !line.options;
    if !sight.lines.iter().any(opens) {
        // However the master came in, it is not known what will be left of that.
        let why = "the master's key is not authorized there: gnt-cluster verify says more";
        node.refused = Some(why.into());
        node.remove.clear();
        node.backups.clear();
    }
    node
}
