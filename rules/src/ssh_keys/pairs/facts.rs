//! What follows from what all nodes say: the master's key, whether each candidate has a pair of its
//! own, and who has which. What nobody knows is never guessed.

use super::list::{List, Pair, VERSION};
use super::scene::{Scene, Wishes};
use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::sight::{KeyFile, Sight};

/// How a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It uses this pair of its own.
    Has(Pair),
    /// This one waits there.
    Staged(Pair),
    /// It has none.
    Without,
}

impl Standing {
    pub(super) fn pair(&self) -> Option<&Pair> {
        match self {
            Self::Has(pair) | Self::Staged(pair) => Some(pair),
            Self::Without => None,
        }
    }
}

/// What follows.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) scene: &'a Scene,
    /// The file on the master that has its private half, and the key.
    pub(super) masters: &'a KeyFile,
    /// What was decided before.
    pub(super) known: List,
    /// What is decided now.
    pub(super) list: List,
}

impl<'a> Facts<'a> {
    pub(super) fn of(scene: &'a Scene, wishes: &Wishes) -> Result<Self, String> {
        let mut known = known(scene);
        known.own_pairs |= wishes.own_pairs;
        let masters = masters_file(scene, &known)?;
        let key = &masters.key;
        let is_own = known.own.values().any(|pair| pair.key == *key);
        if !known.own_pairs {
            if known.shared.as_ref() != Some(key) && !wishes.shared_pair && !is_shared(scene, key) {
                return Err(
                    "no other node has the master's private SSH key, so nobody can say that the \
                     candidates share it: --shared-pair says so; --own-pairs gives each its own"
                        .into(),
                );
            }
            known.shared = Some(key.clone());
        } else if known.shared.is_none() && !is_own {
            known.shared = Some(key.clone());
        }
        let mut facts = Self {
            scene,
            masters,
            list: known.clone(),
            known,
        };
        facts.list.own = facts.owners();
        Ok(facts)
    }

    /// Who has which pair now, and who had one that is not gone yet.
    fn owners(&self) -> std::collections::BTreeMap<String, Pair> {
        let scene = self.scene;
        let candidates = scene.candidates.iter();
        let now = candidates.filter_map(|name| {
            let standing = self.standing(name);
            Some((name.clone(), standing.pair()?.clone()))
        });
        let former = self.known.own.iter().filter(|(name, pair)| {
            let is_member = scene.nodes.contains_key(*name) && !scene.candidates.contains(*name);
            is_member && self.is_left(name, pair)
        });
        let former = former.map(|(name, pair)| (name.clone(), pair.clone()));
        match self.known.own_pairs {
            true => former.chain(now).collect(),
            false => std::collections::BTreeMap::new(),
        }
    }

    /// Whether a pair may still be somewhere.
    fn is_left(&self, name: &str, pair: &Pair) -> bool {
        let is_held = |sight: &Sight| holds(sight, &pair.key) || sight.staged.is_some();
        let mut seen = self.scene.nodes.values().flatten();
        self.scene.seen(name).is_none_or(is_held)
            || seen.any(|sight| sight.lines.iter().any(|line| line.key == pair.key))
    }

    /// A candidate's own word counts for itself; of one that was not seen, what was known.
    pub(super) fn standing(&self, name: &str) -> Standing {
        let Some(sight) = self.scene.seen(name) else {
            let known = self.known.own.get(name);
            return known.map_or(Standing::Without, |pair| Standing::Has(pair.clone()));
        };
        let own = sight.list.as_ref().and_then(|list| list.own.get(name));
        let own = own.or_else(|| self.known.own.get(name));
        match (own, &sight.staged) {
            (Some(pair), _) if uses(sight, &pair.key) => Standing::Has(pair.clone()),
            (_, Some(pair)) => Standing::Staged(pair.clone()),
            (_, None) => Standing::Without,
        }
    }

    /// Whether every candidate was seen to use a pair of its own.
    pub(super) fn is_complete(&self) -> bool {
        let mut candidates = self.scene.candidates.iter();
        let has = |name: &String| {
            let is_seen = self.scene.seen(name).is_some();
            is_seen && matches!(self.standing(name), Standing::Has(_))
        };
        self.list.own_pairs && candidates.all(has)
    }

    /// The name of the file that ssh takes by itself. DSA ends with the shared pair.
    pub(super) fn place(&self) -> &str {
        match self.masters.name.as_str() {
            "id_dsa" if self.list.own_pairs => "id_rsa",
            name => name,
        }
    }

    pub(super) fn is_shared(&self, key: &Fingerprint) -> bool {
        self.list.shared.as_ref() == Some(key)
    }
}

/// Whether a private half of this key is in one of the node's files, whatever its name.
pub(super) fn holds(sight: &Sight, key: &Fingerprint) -> bool {
    let mut private = sight.files.iter().filter(|file| file.private);
    private.any(|file| file.key == *key)
}

/// Whether it is the one that ssh takes by itself.
pub(super) fn uses(sight: &Sight, key: &Fingerprint) -> bool {
    let mut own = sight.files.iter().filter(|file| file.is_own());
    own.any(|file| file.key == *key)
}

/// Whether the key opens the node's door by itself.
pub(super) fn opens(sight: &Sight, key: &Fingerprint) -> bool {
    let mut lines = sight.lines.iter();
    lines.any(|line| line.key == *key && !line.options)
}

/// What candidates have kept: the master's list, and what another says that went further.
fn known(scene: &Scene) -> List {
    let of = |name: &str| scene.seen(name).and_then(|sight| sight.list.clone());
    let mut known = of(&scene.master).unwrap_or_default();
    known.version = VERSION;
    for list in scene.candidates.iter().filter_map(|name| of(name)) {
        known.own_pairs |= list.own_pairs;
        known.shared = known.shared.or(list.shared);
        for (name, pair) in list.own {
            known.own.entry(name).or_insert(pair);
        }
    }
    known
}

fn masters_file<'a>(scene: &'a Scene, known: &List) -> Result<&'a KeyFile, String> {
    let sight = match scene.nodes.get(&scene.master) {
        Some(Ok(sight)) => sight,
        Some(Err(why)) => return Err(format!("the master itself: {why}")),
        None => return Err("the master is not in ssconf_node_list".into()),
    };
    let is_open = |file: &&KeyFile| file.is_own() && opens(sight, &file.key);
    let mut own: Vec<&KeyFile> = sight.files.iter().filter(is_open).collect();
    let pair = known.own.get(&scene.master);
    own.sort_by_key(|file| match &file.key {
        key if pair.is_some_and(|pair| pair.key == *key) => 0,
        key if known.shared.as_ref() == Some(key) => 1,
        _ => 2,
    });
    let none = "the master has no private SSH key of its own that opens its own door";
    own.first().copied().ok_or_else(|| none.into())
}

/// Whether another node has a private half of the master's key.
fn is_shared(scene: &Scene, key: &Fingerprint) -> bool {
    let others = scene
        .nodes
        .iter()
        .filter(|(name, _)| **name != scene.master);
    let mut seen = others.filter_map(|(_, said)| said.as_ref().ok());
    seen.any(|sight| {
        let mut own = sight.files.iter().filter(|file| file.is_own());
        own.any(|file| file.key == *key && file.proven)
    })
}
