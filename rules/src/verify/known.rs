//! Which key is whose, by `ganeti_pub_keys`, found at once however long the files are. Nothing is
//! judged here.

use std::collections::{BTreeSet, HashMap};

use super::observed::{Observed, PublicKey};

/// The comment of a key that Ganeti made begins so.
const OF_ROOT: &str = "root@";

/// The keys of all nodes that can be candidates.
#[derive(Default)]
pub(super) struct Known<'a> {
    holders: HashMap<&'a str, Vec<&'a str>>,
    uuids: BTreeSet<&'a str>,
    /// The names of nodes that have a key.
    names: BTreeSet<&'a str>,
    /// All nodes, by their names and by the first labels of these.
    nodes: HashMap<&'a str, &'a str>,
    /// A name for each UUID.
    named: HashMap<&'a str, &'a str>,
    /// The pair that candidates share, and the nodes with one of their own, where Ganeti knows none.
    shared: Option<String>,
    /// The one that they shared before each got its own.
    replaced: Option<String>,
    pairs: HashMap<String, &'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn of(seen: &'a Observed) -> Self {
        let mut known = Self::default();
        let keys = seen.ssh.pub_keys.good();
        for (uuid, key) in keys.iter().flat_map(|all| &all.keys) {
            let holders = known.holders.entry(&key.fingerprint).or_default();
            holders.push(uuid);
            known.uuids.insert(uuid);
            if let Some(name) = of_root(key) {
                known.names.insert(name);
                known.named.entry(uuid).or_insert(name);
            }
        }
        for node in seen.lists.nodes.iter().flatten() {
            let label = node.split('.').next().unwrap_or(node);
            known.nodes.insert(label, node);
            known.nodes.insert(node, node);
        }
        if let Some(list) = seen.ssh.pairs.good().filter(|_| known.uuids.is_empty()) {
            let shared = list.shared.as_ref().map(ToString::to_string);
            match list.own_pairs {
                true => known.replaced = shared,
                false => known.shared = shared,
            }
            let own = list.own.iter();
            known.pairs = own
                .map(|(node, pair)| (pair.key.to_string(), &**node))
                .collect();
        }
        if let Some(configured) = seen.configuration.good() {
            // Here it is certain whose a UUID is, whatever the comments say.
            known.names.clear();
            for (uuid, node) in &configured.nodes {
                known.named.insert(uuid, &node.name);
                if known.uuids.contains(uuid.as_str()) {
                    known.names.insert(&node.name);
                }
            }
        }
        known
    }

    /// The UUIDs of the nodes that have this key; a shared one has several.
    pub(super) fn holders(&self, key: &PublicKey) -> &[&'a str] {
        let found = self.holders.get(key.fingerprint.as_str());
        found.map_or(&[], Vec::as_slice)
    }

    /// Whether the node with this UUID has a key.
    pub(super) fn has(&self, uuid: &str) -> bool {
        self.uuids.contains(uuid)
    }

    /// Whether the node of this name has a key.
    pub(super) fn has_named(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The node that a key's comment names, if there is one.
    pub(super) fn node_of_comment(&self, key: &PublicKey) -> Option<&'a str> {
        self.nodes.get(of_root(key)?).copied()
    }

    /// Whether it is the pair that candidates share.
    pub(super) fn is_shared(&self, key: &PublicKey) -> bool {
        self.shared.as_ref() == Some(&key.fingerprint)
    }

    /// Whether they shared it before.
    pub(super) fn is_replaced(&self, key: &PublicKey) -> bool {
        self.replaced.as_ref() == Some(&key.fingerprint)
    }

    /// The node that has it as a pair of its own, where Ganeti does not manage the keys.
    pub(super) fn pair_of(&self, key: &PublicKey) -> Option<&'a str> {
        self.pairs.get(&key.fingerprint).copied()
    }

    /// Whether there are none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.uuids.is_empty()
    }

    /// A node as people call it: by name, if the configuration or a key's comment has it.
    pub(super) fn name(&self, uuid: &str) -> String {
        match self.named.get(uuid) {
            Some(name) => format!("{name} ({uuid})"),
            None => uuid.to_owned(),
        }
    }
}

/// The node that a key's comment names.
fn of_root(key: &PublicKey) -> Option<&str> {
    key.comment.strip_prefix(OF_ROOT)
}
