//! The cluster as its master knows it, and what each node says. Nothing is judged here.

use std::collections::{BTreeMap, BTreeSet};

use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::scene::of_configuration;
use crate::ssh_keys::sight::Sight;
use crate::verify::observed::{Observed, Seen};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Each candidate gets a pair of its own.
    pub own_pairs: bool,
    /// The master's pair is the one that candidates share, though no other node has it.
    pub shared_pair: bool,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scene {
    /// The master's name.
    pub master: String,
    /// The names of the candidates, the master among them.
    pub candidates: BTreeSet<String>,
    /// Keys that the administrator allows.
    pub listed: BTreeSet<Fingerprint>,
    /// Each node with what it says, or why it says nothing.
    pub nodes: BTreeMap<String, Result<Sight, String>>,
}

impl Scene {
    /// As the master's own files have it, if Ganeti leaves the keys alone; no node has said anything
    /// yet.
    pub fn of_master(seen: &Observed, listed: &BTreeSet<String>) -> Result<Self, String> {
        if of_configuration(seen)?.manages_keys() {
            return Err("Ganeti manages the SSH keys of this cluster".into());
        }
        if seen.ssh.pub_keys != Seen::Absent {
            let why = "there is a ganeti_pub_keys, though Ganeti does not manage the SSH keys";
            return Err(why.into());
        }
        let candidates = seen.lists.candidates.iter().flatten().cloned();
        let candidates: BTreeSet<String> = candidates.collect();
        if !candidates.contains(&seen.host) {
            return Err("ssconf_master_candidates does not have the master".into());
        }
        Ok(Self {
            master: seen.host.clone(),
            candidates,
            listed: listed.iter().filter_map(|key| key.parse().ok()).collect(),
            nodes: BTreeMap::new(),
        })
    }

    /// What a node says, if it says anything.
    pub(super) fn seen(&self, node: &str) -> Option<&Sight> {
        self.nodes.get(node)?.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::observed::{Configuration, PubKeys};

    #[test]
    fn clusters_whose_keys_are_ours_as_a_table() {
        let master = || {
            let mut seen = Observed {
                host: "n1".into(),
                configuration: Seen::Good(Configuration::default()),
                ..Observed::default()
            };
            seen.lists.candidates = Some(vec!["n1".into(), "n2".into()]);
            seen
        };
        fn with(seen: &mut Observed, modify_ssh_setup: bool, version: u64) {
            seen.configuration = Seen::Good(Configuration {
                modify_ssh_setup,
                version,
                ..Configuration::default()
            });
        }
        type Row = (fn(&mut Observed), &'static str);
        let table: [Row; 10] = [
            (|_| {}, ""),
            (|seen| with(seen, false, 3_000_000), ""),
            (|seen| with(seen, true, 2_120_600), ""),
            (|seen| with(seen, true, 2_130_000), "Ganeti manages"),
            (|seen| with(seen, true, 0), "Ganeti manages"),
            (
                |seen| seen.ssh.pub_keys = Seen::Good(PubKeys::default()),
                "there is a ganeti_pub_keys",
            ),
            (|seen| seen.configuration = Seen::Absent, "not the master"),
            (
                |seen| seen.configuration = Seen::Faulty("EOF".into()),
                "config.data: EOF",
            ),
            (
                |seen| seen.lists.candidates = None,
                "does not have the master",
            ),
            (|seen| seen.forbidden.push("/x".into()), "run it as root"),
        ];
        for (change, expected) in table {
            let mut seen = master();
            change(&mut seen);
            match Scene::of_master(&seen, &BTreeSet::new()) {
                Ok(scene) => assert!(expected.is_empty() && scene.candidates.len() == 2),
                Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{why}"),
            }
        }
    }
}
