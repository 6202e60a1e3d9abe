//! What must be there before an installation, and is not, with where it comes from. It puts nothing
//! there.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::look::{Node, needs_guard};
use super::step::Unit;
use super::units::Shown;
use crate::commands::guard::guarded_port;
use crate::commands::program::{ASKED, run};
use crate::config::Config;

/// The guard's rules, unless its unit names others.
const RULES: &str = "/etc/noded-proxy/noded-proxy-guard.nft";

/// One line for each thing that is missing.
pub(super) fn missing(node: &Node, socket: bool, config: &Config) -> Vec<String> {
    let guarded = needs_guard(config);
    let wanted = [
        (Unit::Proxy, &node.proxy, true),
        (Unit::Guard, &node.guard, guarded),
        (Unit::Socket, &node.socket, socket),
    ];
    let units = wanted.into_iter().filter(|(_, _, needed)| *needed);
    let mut missing: Vec<String> = units
        .filter(|(_, shown, _)| !shown.is_loaded())
        .map(|(unit, ..)| from_the_package(&format!("systemd knows no {}", unit.name())))
        .collect();
    let programs = [&node.proxy, &node.guard].map(Shown::program);
    let files = programs
        .into_iter()
        .chain([node.proxy.argument("--config")]);
    for path in files.flatten().filter(|path| !path.exists()) {
        missing.push(absent(&path));
    }
    missing.extend(no_user(node.proxy.get("User")));
    missing.extend(guarded.then(|| rules(node, config)).flatten());
    missing.dedup();
    missing
}

fn from_the_package(what: &str) -> String {
    format!("{what}: install the package, or the archive (docs/operations.md) or its files")
}

fn absent(path: &Path) -> String {
    from_the_package(&format!("{} is missing", path.display()))
}

fn no_user(user: &str) -> Option<String> {
    if user.is_empty() {
        return None;
    }
    match run(Command::new("id").args(["-u", user]), b"", ASKED) {
        Ok(said) if said.status.success() => None,
        Ok(_) => Some(format!(
            "there is no user {user}: systemd-sysusers makes it"
        )),
        Err(why) => Some(why.into()),
    }
}

/// What is wrong with the guard's rules.
fn rules(node: &Node, config: &Config) -> Option<String> {
    let path = node.guard.argument("--rules");
    let path = path.unwrap_or_else(|| RULES.into());
    let Ok(text) = fs::read_to_string(&path) else {
        return Some(absent(&path));
    };
    let (name, port) = (path.display(), config.upstream.address.port());
    let other = guarded_port(&text) != Some(port);
    other.then(|| format!("{name} must say `define noded_port = {port}`"))
}
