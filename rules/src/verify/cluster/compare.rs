//! What a node has of the cluster's common knowledge, compared with what the master has.
//! What the master itself lacks is never a fault of the node.

use std::collections::BTreeSet;

use crate::shown::printable;
use crate::verify::finding::Finding;
use crate::verify::ids::Id;
use crate::verify::observed::{Configuration, Lists, Observed, PubKeys, Seen};

/// Names that one finding shows.
const SHOWN: usize = 5;

/// All that differs; `lists` are those of the cluster.
pub(super) fn judge(master: &Observed, lists: &Lists, name: &str, seen: &Observed) -> Vec<Finding> {
    let (ours, theirs) = (lists, &seen.lists);
    let master_of = |of: &Option<String>| of.as_ref().map(|name| vec![name.clone()]);
    let mut found: Vec<Finding> = [
        ("ssconf_node_list", &ours.nodes, &theirs.nodes),
        (
            "ssconf_master_candidates",
            &ours.candidates,
            &theirs.candidates,
        ),
        ("ssconf_offline_nodes", &ours.offline, &theirs.offline),
        (
            "ssconf_master_node",
            &master_of(&ours.master),
            &master_of(&theirs.master),
        ),
    ]
    .into_iter()
    .filter_map(|(file, ours, theirs)| list(file, ours.as_ref()?, theirs.as_ref()))
    .collect();
    if seen.host != name {
        let text = format!("it calls itself {}", printable(&seen.host));
        found.push(Finding::new(Id::NotANode, name, text));
    }
    let (ours, theirs) = (master, seen);
    if let (Seen::Good(ours), Seen::Good(theirs)) = (&ours.configuration, &theirs.configuration) {
        found.extend(configuration(ours, theirs));
    }
    if let (Seen::Good(ours), Seen::Good(theirs)) = (&ours.ssh.pub_keys, &theirs.ssh.pub_keys) {
        found.extend(pub_keys(ours, theirs));
    }
    found
}

fn list(file: &str, ours: &[String], theirs: Option<&Vec<String>>) -> Option<Finding> {
    let Some(theirs) = theirs else {
        let text = "the node does not have it";
        return Some(Finding::new(Id::SsconfDiffers, file, text));
    };
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    let what = difference(&set(ours), &set(theirs))?;
    Some(Finding::new(Id::SsconfDiffers, file, what))
}

fn configuration(ours: &Configuration, theirs: &Configuration) -> Option<Finding> {
    let what = match theirs {
        same if same == ours => return None,
        other if other.serial != ours.serial => {
            let (theirs, ours) = (other.serial, ours.serial);
            format!("its serial number is {theirs}, on the master it is {ours}")
        }
        other if other.candidate_certs != ours.candidate_certs => {
            "with the same serial number its candidate map is another".into()
        }
        _ => "with the same serial number its nodes are others".into(),
    };
    Some(Finding::new(Id::ConfigurationDiffers, "config.data", what))
}

fn pub_keys(ours: &PubKeys, theirs: &PubKeys) -> Option<Finding> {
    let set = |all: &PubKeys| {
        let keys = all.keys.iter();
        keys.map(|(uuid, key)| format!("{} of {uuid}", key.fingerprint))
            .collect::<BTreeSet<String>>()
    };
    let what = difference(&set(ours), &set(theirs))?;
    Some(Finding::new(Id::SshPubKeysDiffer, "ganeti_pub_keys", what))
}

fn difference(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Option<String> {
    let (lost, more) = (few(ours.difference(theirs)), few(theirs.difference(ours)));
    match (lost, more) {
        (None, None) => None,
        (Some(lost), None) => Some(format!("it lacks {lost}")),
        (None, Some(more)) => Some(format!("it has {more} too many")),
        (Some(lost), Some(more)) => Some(format!("it has {more} and not {lost}")),
    }
}

/// The first of them, and how many there are besides.
fn few<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&String> = names.collect();
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| printable(name))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}
