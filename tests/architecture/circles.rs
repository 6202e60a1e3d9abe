//! Files that use each other in a circle, found through re-exports. Tests do not count, and a
//! module that only passes on what its child defines does not depend on the child.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Tree, package_of};

type Edges<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Each circle as `a.rs -> b.rs -> a.rs`.
pub(crate) fn circles(tree: &Tree) -> Vec<String> {
    let edges = edges(tree);
    let mut found = BTreeSet::new();
    for start in edges.keys() {
        if let Some(circle) = way_back(&edges, start) {
            let mut key = circle.clone();
            key.sort_unstable();
            key.dedup();
            if !found
                .iter()
                .any(|(known, _): &(Vec<&str>, String)| *known == key)
            {
                found.insert((key, circle.join(" -> ")));
            }
        }
    }
    found.into_iter().map(|(_, circle)| circle).collect()
}

fn edges(tree: &Tree) -> Edges<'_> {
    let mut edges = Edges::new();
    for file in tree.0.iter().filter(|file| !file.is_test) {
        let package = package_of(&file.path);
        for named in file.names.iter().filter(|named| named[0] == "crate") {
            let used = tree.definition(package, named);
            if let Some(used) =
                used.filter(|used| used.path != file.path && !used.module.is_empty())
            {
                edges.entry(&file.path).or_default().insert(&used.path);
            }
        }
    }
    edges
}

/// The shortest way from a file back to itself.
fn way_back<'a>(edges: &Edges<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways: Vec<Vec<&str>> = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way[way.len() - 1];
            for next in edges.get(last).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next);
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
