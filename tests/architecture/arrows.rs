//! Which folder may use which. The table is the drawing in `src/lib.rs`; nothing else decides.

use super::source::{File, Named, Tree, package_of};

/// From the bottom up; folders on one floor do not use each other.
const FLOORS: [&[&str]; 9] = [
    &["rules"],
    &["node", "metrics"],
    &["tls"],
    &["trust"],
    &["proxy", "verify", "ssh_keys", "moves"],
    &["config"],
    &["daemon"],
    &["commands"],
    &["main"],
];

fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
}

/// The folder that a file is in.
pub(crate) fn folder(file: &File) -> &str {
    match file.path.as_str() {
        path if package_of(path) == "rules" => "rules",
        "src/main.rs" => "main",
        "src/lib.rs" => "lib",
        _ => file.module.first().map_or("lib", String::as_str),
    }
}

/// The folder that a path leads to, if it is one of ours.
fn target<'a>(file: &File, named: &'a Named) -> Option<&'a str> {
    match named[0].as_str() {
        "rules" => Some("rules"),
        "crate" if package_of(&file.path) == "rules" => Some("rules"),
        "crate" | "noded_proxy" => named.get(1).map(String::as_str),
        _ => None,
    }
}

/// Every use of a folder that is not below the file's own.
pub(crate) fn upward(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.0.iter().filter(|file| folder(file) != "lib") {
        let from = folder(file);
        let Some(above) = floor(from) else {
            found.push(format!(
                "{}: {from} is in no floor of the drawing",
                file.path
            ));
            continue;
        };
        for named in &file.names {
            if ["crate", "noded_proxy"].contains(&named[0].as_str()) && named.len() == 1 {
                // Under another name, or as `*`, everything could be reached.
                found.push(format!("{}: the whole package by one name", file.path));
            }
            let Some(to) = target(file, named) else {
                continue;
            };
            if to != from && floor(to).is_none_or(|below| below >= above) {
                found.push(format!(
                    "{}: {} ({from} may not use {to})",
                    file.path,
                    named.join("::")
                ));
            }
        }
    }
    found
}

/// The rooms of the road. `connection` and `rpc` call the others in turn; those do not know each
/// other.
const ROOMS: [&str; 5] = ["listener", "workers", "overload", "http", "upstream"];

/// The one look sideways: noded's answer becomes a body.
const SIDEWAYS: (&str, &str) = ("upstream", "http");

/// Every use of one room of `proxy/` by another that is not its caller.
pub(crate) fn sideways(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let in_proxy = tree
        .0
        .iter()
        .filter(|file| folder(file) == "proxy" && !file.is_test);
    for file in in_proxy {
        let Some(room) = file
            .module
            .get(1)
            .filter(|room| ROOMS.contains(&room.as_str()))
        else {
            continue;
        };
        for named in file
            .names
            .iter()
            .filter(|named| target(file, named) == Some("proxy"))
        {
            let Some(other) = named.get(2) else { continue };
            let is_room =
                ROOMS.contains(&other.as_str()) || ["connection", "rpc"].contains(&other.as_str());
            if is_room && other != room && (room.as_str(), other.as_str()) != SIDEWAYS {
                let path = named.join("::");
                found.push(format!(
                    "{}: {path} ({room} may not use {other})",
                    file.path
                ));
            }
        }
    }
    found
}
