//! The candidate map: each entry is that of a candidate that is there, and the map on this node is
//! that of the configuration. noded and the proxy cannot see either.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::ids::Id;
use super::observed::{Configuration, Seen};
use super::role::Place;
use crate::identity::Digest;
use crate::shown::printable;

/// The file's name.
const MAP: &str = "ssconf_master_candidates_certs";
/// The key of the entry with which a cluster begins.
const BOOTSTRAP: &str = "bootstrap";

/// All findings on the map.
pub(super) fn judge(place: &Place<'_>) -> Vec<Finding> {
    let map = match &place.seen.map {
        Seen::Absent => return vec![Finding::new(Id::MapFaulty, MAP, "the file is absent")],
        Seen::Faulty(why) => return vec![Finding::new(Id::MapFaulty, MAP, why)],
        Seen::Good(map) if map.is_empty() => {
            return vec![Finding::new(Id::MapFaulty, MAP, "the file is empty")];
        }
        Seen::Good(map) => map,
    };
    let mut found = of_itself(map);
    match place.seen.configuration.good() {
        Some(configured) => {
            found.extend(differs(map, configured));
            let here = map
                .iter()
                .map(|(uuid, digest)| (uuid.as_str(), digest.to_string()));
            let there = configured.candidate_certs.iter();
            let there = there.map(|(uuid, digest)| (uuid.as_str(), digest.clone()));
            let entries: BTreeSet<(&str, String)> = here.chain(there).collect();
            let entries = entries.iter().filter(|(uuid, _)| *uuid != BOOTSTRAP);
            found.extend(entries.filter_map(|(uuid, digest)| entry(uuid, digest, configured)));
            found.extend(missing(place, configured));
        }
        None => {
            found.extend(count(place, map));
            found.extend(without_key(place, map));
        }
    }
    found
}

/// What can be seen in the map alone.
fn of_itself(map: &[(String, Digest)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut holders: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for (uuid, digest) in map {
        if uuid == BOOTSTRAP {
            let text = format!("{MAP} lists {digest} as {BOOTSTRAP}");
            found.push(Finding::new(Id::MapBootstrap, BOOTSTRAP, text));
        }
        holders.entry(*digest).or_default().push(printable(uuid));
    }
    for (digest, uuids) in holders.iter().filter(|(_, uuids)| uuids.len() > 1) {
        let text = format!("{digest} is listed for {}", uuids.join(" and "));
        found.push(Finding::new(Id::MapDigestTwice, &uuids[0], text));
    }
    found
}

/// Every line that is here and not in the configuration, or the other way round.
fn differs(map: &[(String, Digest)], configured: &Configuration) -> Vec<Finding> {
    let here: BTreeSet<(&str, String)> = map
        .iter()
        .map(|(uuid, digest)| (uuid.as_str(), digest.to_string()))
        .collect();
    let there = configured.candidate_certs.iter();
    let there: BTreeSet<(&str, String)> = there
        .map(|(uuid, digest)| (uuid.as_str(), digest.clone()))
        .collect();
    let text = |(uuid, digest): &(&str, String), which: &str, other: &str| {
        let (uuid, digest) = (printable(uuid), printable(digest));
        let text = format!("{uuid}={digest} is in {which} and not in {other}");
        Finding::new(Id::MapDiffers, &uuid, text)
    };
    let (file, data) = ("this node's map", "config.data");
    let more = here.difference(&there).map(|entry| text(entry, file, data));
    let less = there.difference(&here).map(|entry| text(entry, data, file));
    more.chain(less).collect()
}

/// Whether an entry is that of a candidate that is there.
fn entry(uuid: &str, digest: &str, configured: &Configuration) -> Option<Finding> {
    let (shown, digest) = (printable(uuid), printable(digest));
    let Some(node) = configured.nodes.get(uuid) else {
        let text = format!("{digest} is admitted for {shown}, which is no node of the cluster");
        return Some(Finding::new(Id::MapEntryUnknown, uuid, text));
    };
    let name = printable(&node.name);
    let (id, what) = match node {
        node if node.offline => (Id::MapEntryOffline, "which is offline"),
        node if node.drained => (Id::MapEntryOffline, "which is drained"),
        node if !node.master_candidate => (Id::MapEntryNoCandidate, "which is no master candidate"),
        _ => return None,
    };
    let text = format!("{digest} is admitted for {name} ({shown}), {what}");
    Some(Finding::new(id, uuid, text))
}

/// Every candidate of the configuration that the configuration's own map lacks.
fn missing(place: &Place<'_>, configured: &Configuration) -> Vec<Finding> {
    let listed = &configured.candidate_certs;
    let candidates = place.candidates.iter().flatten();
    let lost = candidates.filter(|uuid| !listed.contains_key(**uuid));
    lost.map(|uuid| {
        let text = format!("{} has no entry", printable(&place.name(uuid)));
        Finding::new(Id::MapEntryMissing, uuid, text)
    })
    .collect()
}

/// Without the configuration: at least the number must agree.
fn count(place: &Place<'_>, map: &[(String, Digest)]) -> Option<Finding> {
    let candidates = place.seen.lists.candidates.as_ref()?.len();
    let text = format!("{} entries, {candidates} master candidates", map.len());
    (map.len() != candidates).then(|| Finding::new(Id::MapCount, MAP, text))
}

/// Without the configuration: every node that can be a candidate has a line in `ganeti_pub_keys`.
fn without_key(place: &Place<'_>, map: &[(String, Digest)]) -> Vec<Finding> {
    if place.known.is_empty() {
        return Vec::new();
    }
    let odd = map
        .iter()
        .filter(|(uuid, _)| uuid != BOOTSTRAP && !place.known.has(uuid));
    odd.map(|(uuid, digest)| {
        let text = format!("{digest} is admitted for {}", printable(uuid));
        Finding::new(Id::MapEntryWithoutKey, uuid, text)
    })
    .collect()
}
