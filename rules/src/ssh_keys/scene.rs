//! The cluster as its master knows it, and what each node says. Nothing is judged here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Fingerprint;
use super::sight::{KeyFile, Sight};
use crate::verify::observed::{Configuration, Observed, Seen};

/// The comment of a key that Ganeti made begins so.
const OF_ROOT: &str = "root@";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// A comment that names a node is proof enough.
    pub by_comment: bool,
    /// Private halves that were put aside before this moment are deleted; seconds since 1970.
    pub aside_before: Option<i64>,
}

/// All files that nodes have told of, by their keys: found at once, however many nodes tell of many.
pub(super) struct Files<'a>(HashMap<&'a Fingerprint, Vec<(&'a str, &'a KeyFile)>>);

impl<'a> Files<'a> {
    pub(super) fn of(scene: &'a Scene) -> Self {
        let mut files: HashMap<_, Vec<_>> = HashMap::new();
        for (name, said) in &scene.nodes {
            for file in said.iter().flat_map(|sight| &sight.files) {
                files
                    .entry(&file.key)
                    .or_default()
                    .push((name.as_str(), file));
            }
        }
        Self(files)
    }

    /// Those with this key, each with its node.
    pub(super) fn with(&self, key: &Fingerprint) -> &[(&'a str, &'a KeyFile)] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scene {
    /// The master's name.
    pub master: String,
    /// The names of the candidates: root there is trusted with the whole cluster.
    pub candidates: BTreeSet<String>,
    /// The present keys of nodes by `ganeti_pub_keys`, each with its node's name.
    pub current: BTreeMap<Fingerprint, String>,
    /// Keys that the administrator allows.
    pub listed: BTreeSet<Fingerprint>,
    /// Each node with what it says, or why it says nothing.
    pub nodes: BTreeMap<String, Result<Sight, String>>,
}

/// What the master's configuration says, or why nobody can tell.
pub(super) fn of_configuration(seen: &Observed) -> Result<&Configuration, String> {
    if let Some(path) = seen.forbidden.first() {
        return Err(format!("{path}: this user may not read it: run it as root"));
    }
    match &seen.configuration {
        Seen::Good(configured) => Ok(configured),
        Seen::Faulty(why) => Err(format!("config.data: {why}")),
        Seen::Absent => Err("config.data is absent: this is not the master".into()),
    }
}

impl Scene {
    /// As the master's own files have it; no node has said anything yet.
    pub fn of_master(seen: &Observed, listed: &BTreeSet<String>) -> Result<Self, String> {
        let configured = of_configuration(seen)?;
        let pub_keys = match &seen.ssh.pub_keys {
            Seen::Good(keys) if configured.manages_keys() => keys,
            Seen::Faulty(why) => return Err(format!("ganeti_pub_keys: {why}")),
            Seen::Good(_) | Seen::Absent => {
                return Err("Ganeti does not manage the SSH keys of this cluster".into());
            }
        };
        if let Some(bad) = pub_keys.bad_lines.first() {
            return Err(format!("ganeti_pub_keys: line {}: {}", bad.line, bad.why));
        }
        let name = |uuid: &String| configured.nodes.get(uuid).map(|node| node.name.clone());
        let mut current = BTreeMap::new();
        for (uuid, key) in &pub_keys.keys {
            let key = key
                .fingerprint
                .parse()
                .map_err(|error| format!("{error}"))?;
            current.insert(key, name(uuid).unwrap_or_else(|| uuid.clone()));
        }
        let names: BTreeSet<&String> = current.values().collect();
        let candidates = configured.nodes.values().filter(|n| n.master_candidate);
        let candidates: BTreeSet<String> = candidates.map(|n| n.name.clone()).collect();
        if let Some(lost) = candidates.iter().find(|name| !names.contains(name)) {
            return Err(format!(
                "ganeti_pub_keys has no key of the candidate {lost}, as after a renewal that failed: \
                 gnt-cluster renew-crypto --new-ssh-keys --no-ssh-key-check"
            ));
        }
        Ok(Self {
            master: seen.host.clone(),
            candidates,
            current,
            listed: listed.iter().filter_map(|key| key.parse().ok()).collect(),
            nodes: BTreeMap::new(),
        })
    }

    /// The node that a comment names, in full or by the first label of one name alone.
    pub(super) fn named(&self, comment: &str) -> Option<&str> {
        let host = comment.strip_prefix(OF_ROOT)?;
        let mut fit = self.nodes.keys().filter(|name| {
            let label = name.split('.').next().unwrap_or(name);
            *name == host || label == host
        });
        let found = fit.next()?;
        fit.next().is_none().then_some(found)
    }

    /// Whether root on this node could do anything anywhere without lying.
    pub(super) fn is_trusted(&self, node: &str) -> bool {
        node == self.master || self.candidates.contains(node)
    }

    /// Whether Ganeti has a present key of this node.
    pub(super) fn has_current(&self, node: &str) -> bool {
        self.current.values().any(|name| name == node)
    }

    /// The master's present key, if the master itself holds its private half.
    pub(super) fn masters_key(&self) -> Option<&Fingerprint> {
        let own = self.nodes.get(&self.master)?.as_ref().ok()?;
        let mut own = own.files.iter().filter(|file| file.is_own());
        own.find_map(|file| {
            let (key, node) = self.current.get_key_value(&file.key)?;
            (*node == self.master).then_some(key)
        })
    }
}
