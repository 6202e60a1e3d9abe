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
