//! What all nodes need, and what is done first. Pure: nothing is done here.

use std::collections::BTreeSet;

use super::facts::{Facts, Standing, opens, uses};
use super::list::{List, node_of};
use super::need::{Need, Phase, Why};
use super::scene::{Scene, Wishes};
use crate::shown::printable;
use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::sight::{Line, Sight};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The master's present key: it must open every node, before and after.
    pub masters_key: Fingerprint,
    /// The name of the file in which candidates have their private half.
    pub file: String,
    /// Who has which pair.
    pub list: List,
    /// All nodes, by name; the master is the last.
    pub nodes: Vec<Node>,
}

/// What one node needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Why nothing is done.
    pub refused: Option<String>,
    /// What it needs.
    pub needs: Vec<Need>,
    /// Lines that stay, since the administrator has allowed them.
    pub allowed: Vec<Line>,
}

impl Node {
    /// What is done there in this phase.
    pub fn in_phase(&self, phase: Phase) -> impl Iterator<Item = &Need> {
        let needs = self.needs.iter();
        needs.filter(move |need| need.phase() == Some(phase))
    }
}

impl Plan {
    /// The first phase in which something is to be done.
    pub fn phase(&self) -> Option<Phase> {
        let needs = self.nodes.iter().flat_map(|node| &node.needs);
        needs.filter_map(Need::phase).min()
    }
}

/// What all nodes need; or why nothing can be done.
pub fn plan(scene: &Scene, wishes: &Wishes) -> Result<Plan, String> {
    let facts = Facts::of(scene, wishes)?;
    let node = |(name, said): (&String, &Result<Sight, String>)| match said {
        Err(why) => refused(name, why),
        Ok(sight) => of_node(&facts, name, sight),
    };
    let mut nodes: Vec<Node> = scene.nodes.iter().map(node).collect();
    nodes.sort_by_key(|node| node.name == scene.master);
    Ok(Plan {
        masters_key: facts.masters.key.clone(),
        file: facts.place().into(),
        list: facts.list,
        nodes,
    })
}

fn refused(name: &str, why: &str) -> Node {
    Node {
        name: name.into(),
        refused: Some(why.into()),
        ..Node::default()
    }
}

fn of_node(facts: &Facts<'_>, name: &str, sight: &Sight) -> Node {
    if !opens(sight, &facts.masters.key) {
        return refused(name, "the master's key is not authorized there");
    }
    let is_candidate = facts.scene.candidates.contains(name);
    if let Some(file) = other_pair(facts, name, sight).filter(|_| is_candidate) {
        let why = format!("its {file} is another pair, which stays: move it away");
        return refused(name, &why);
    }
    let mut node = Node {
        name: name.into(),
        ..Node::default()
    };
    if facts.list.own_pairs {
        node.needs
            .extend(own_pair(facts, name, sight, is_candidate));
        node.needs.extend(lines(facts, sight));
        removals(facts, sight, &mut node);
    } else if is_candidate && !uses(sight, &facts.masters.key) {
        node.needs.push(Need::Give);
    }
    if sight.list.as_ref() != Some(&facts.list) {
        node.needs.push(Need::List);
    }
    if !is_candidate {
        node.needs.extend(private(facts, name, sight));
    }
    node
}

/// A pair that somebody else has put where a candidate's is to be: that is never touched.
fn other_pair<'a>(facts: &Facts<'_>, name: &str, sight: &'a Sight) -> Option<&'a str> {
    let standing = facts.standing(name);
    let is_ours = |key: &Fingerprint| {
        let is_own = standing.pair().is_some_and(|pair| pair.key == *key);
        is_own || facts.is_shared(key)
    };
    let place = facts.place();
    let mut private = sight.files.iter().filter(|file| file.private);
    let other = private.find(|file| file.name == place && !is_ours(&file.key))?;
    Some(&other.name)
}

/// A pair for a candidate that has none of its own.
fn own_pair(facts: &Facts<'_>, name: &str, sight: &Sight, is_candidate: bool) -> Option<Need> {
    if !is_candidate {
        return None;
    }
    match facts.standing(name) {
        Standing::Has(_) => sight.staged.as_ref().map(|_| Need::Unstage),
        Standing::Without => Some(Need::Make),
        Standing::Staged(pair) => Some(match unready(facts, name, sight, &pair.key) {
            Some(why) => Need::Wait(why),
            None => Need::Switch,
        }),
    }
}

/// Why a candidate cannot change to its own pair yet. One that has the shared pair while that opens
/// all doors must not lose a door by it; one that has nothing has nothing to lose.
fn unready(facts: &Facts<'_>, name: &str, sight: &Sight, own: &Fingerprint) -> Option<String> {
    let scene = facts.scene;
    let shared = facts.list.shared.as_ref();
    let loses = shared.is_some_and(|key| uses(sight, key) && facts.masters.key == *key);
    let closed = scene.nodes.iter().find(|(_, said)| match said {
        Ok(sight) => !opens(sight, own),
        Err(_) => loses,
    });
    if let Some((other, said)) = closed {
        let what = match said {
            Ok(_) => "knows its key",
            Err(_) => "is seen, or removed from the cluster",
        };
        return Some(format!(
            "to change to its own pair, until {} {what}",
            printable(other)
        ));
    }
    let mut others = scene.candidates.iter().filter(|other| *other != name);
    let has = |other: &String| matches!(facts.standing(other), Standing::Has(_));
    let may = name != scene.master || others.all(has);
    (!may).then(|| "to change to its own pair: the master is the last".into())
}

/// The candidates' lines that are not here yet.
fn lines(facts: &Facts<'_>, sight: &Sight) -> Vec<Need> {
    let own = facts.list.own.iter();
    let own = own.filter(|(name, _)| facts.scene.candidates.contains(*name));
    own.filter(|(_, pair)| !opens(sight, &pair.key))
        .map(|(name, pair)| Need::Add(name.clone(), pair.clone()))
        .collect()
}

/// Lines that go: the shared pair's when nobody needs it any more, and those of ours that are no
/// present candidate's.
fn removals(facts: &Facts<'_>, sight: &Sight, node: &mut Node) {
    let scene = facts.scene;
    let candidates = facts.list.own.iter();
    let candidates = candidates.filter(|(name, _)| scene.candidates.contains(*name));
    let wanted: BTreeSet<&Fingerprint> = candidates.map(|(_, pair)| &pair.key).collect();
    let is_complete = facts.is_complete();
    let plain = sight.lines.iter().filter(|line| !line.options);
    for line in plain.filter(|line| line.key != facts.masters.key && !wanted.contains(&line.key)) {
        let why = match node_of(&line.comment) {
            _ if facts.is_shared(&line.key) => is_complete.then_some(Why::Replaced),
            None => None,
            Some(of) if !scene.candidates.contains(of) => Some(Why::NoCandidate),
            // One that was not seen may still use it.
            Some(of) => scene.seen(of).map(|_| Why::Former),
        };
        match why {
            Some(_) if scene.listed.contains(&line.key) => node.allowed.push(line.clone()),
            Some(why) => node.needs.push(Need::Remove(line.clone(), why)),
            None => {}
        }
    }
}

/// What a node that is no candidate must not have.
fn private(facts: &Facts<'_>, name: &str, sight: &Sight) -> Vec<Need> {
    let own = sight.list.as_ref().and_then(|list| list.own.get(name));
    let own = [own, facts.known.own.get(name)];
    let is_own = |key: &Fingerprint| own.iter().flatten().any(|pair| pair.key == *key);
    let private = sight.files.iter().filter(|file| file.private);
    let taken = private.filter_map(|file| {
        let why = match &file.key {
            key if facts.is_shared(key) => Why::Shared,
            key if is_own(key) => Why::NoCandidate,
            _ => return None,
        };
        Some(Need::Take(file.key.clone(), file.name.clone(), why))
    });
    let staged = sight.staged.iter().map(|_| Need::Unstage);
    taken.chain(staged).collect()
}
