//! What is wrong with the candidate map, and who is admitted by it. Pure.

use std::path::Path;

use super::certificates::{Pem, Role};
use super::finding::Finding;
use crate::daemon::report::words::count as number;
use crate::trust::Remembered;
use rules::admission::{Admission, BootstrapPolicy, Memory, Nobody, ServerPem, resolve};
use rules::authz::Mode;
use rules::candidates::MapFile;
use rules::identity::Digest;

/// Makes each node's certificate and the map anew.
const RENEW: &str = "gnt-cluster renew-crypto --new-node-certificates";

/// The map file as found.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) file: MapFile,
    /// Its lines as (key, digest), when every line is in order.
    pub(super) lines: Vec<(String, String)>,
    pub(super) mode: Option<u32>,
}

impl Map {
    pub(super) fn new(file: MapFile, text: &[u8], mode: Option<u32>) -> Self {
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(key, digest)| (key.to_owned(), digest.to_owned()))
        };
        let lines = match &file {
            MapFile::Listed(_) => String::from_utf8_lossy(text)
                .lines()
                .filter_map(pair)
                .collect(),
            _ => Vec::new(),
        };
        Self { file, lines, mode }
    }
}

/// Keys that renew-crypto writes for the time of its work.
fn is_leftover(key: &str) -> bool {
    key == "bootstrap" || key.ends_with("-SERVER") || key.ends_with("-OLDMASTER")
}

/// Findings on the file. `candidates`: lines of `ssconf_master_candidates`.
pub(super) fn file(path: &Path, map: &Map, candidates: Option<usize>) -> Vec<Finding> {
    let name = format!("candidate map {}", path.display());
    let id = "candidate_map";
    let mut findings = vec![match &map.file {
        MapFile::Listed(_) => Finding::ok(id, format!("{name}: {}", map.file)),
        MapFile::Absent | MapFile::Empty => Finding::warning(
            id,
            format!("{name}: {}; the next check says who is admitted", map.file),
        ),
        MapFile::Unreadable(_) | MapFile::Malformed(_) | MapFile::TooLarge => {
            let todo = "gnt-cluster copyfile -n NODE FILE on the master writes it anew";
            Finding::error(id, format!("{name}: {}: {todo}", map.file))
        }
    }];
    if let Some(mode) = map.mode.map(|mode| mode & 0o7777) {
        findings.push(if mode & 0o002 == 0 {
            Finding::ok("candidate_map_mode", format!("{name}: mode {mode:04o}"))
        } else {
            let open = "every local user can admit himself: chmod 0444 FILE";
            Finding::error(
                "candidate_map_mode",
                format!("{name}: mode {mode:04o}: {open}"),
            )
        });
    }
    if !map.lines.is_empty() {
        findings.push(leftovers(&name, &map.lines));
        findings.push(duplicates(&name, &map.lines));
        findings.push(count(&name, &map.lines, candidates));
    }
    findings
}

fn leftovers(name: &str, lines: &[(String, String)]) -> Finding {
    let id = "candidate_map_leftovers";
    let found: Vec<&str> = lines
        .iter()
        .map(|(key, _)| &**key)
        .filter(|k| is_leftover(k))
        .collect();
    if found.is_empty() {
        return Finding::ok(id, format!("{name}: nothing left of a renewal"));
    }
    let keys = found.join(", ");
    let todo = "gnt-cluster renew-crypto is at work, or broke off: run it again then";
    Finding::warning(id, format!("{name}: temporary entries {keys}: {todo}"))
}

/// The same certificate for two nodes: `gnt-cluster verify` calls that an error too.
fn duplicates(name: &str, lines: &[(String, String)]) -> Finding {
    let id = "candidate_map_duplicates";
    let mut sorted: Vec<(&str, &str)> = lines
        .iter()
        .filter(|(key, _)| !is_leftover(key))
        .map(|(key, digest)| (&**digest, &**key))
        .collect();
    sorted.sort_unstable();
    match sorted
        .windows(2)
        .find(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1)
    {
        None => Finding::ok(id, format!("{name}: no certificate stands there twice")),
        Some(two) => {
            let (digest, a, b) = (two[0].0, two[0].1, two[1].1);
            let todo = "gnt-cluster renew-crypto --new-node-certificates";
            Finding::error(
                id,
                format!("{name}: {a} and {b} share the certificate {digest}: {todo}"),
            )
        }
    }
}

fn count(name: &str, lines: &[(String, String)], candidates: Option<usize>) -> Finding {
    let id = "candidate_map_count";
    let entries = lines.iter().filter(|(key, _)| !is_leftover(key)).count();
    match candidates {
        None => Finding::warning(
            id,
            format!("{name}: ssconf_master_candidates cannot be read"),
        ),
        Some(candidates) if candidates == entries => Finding::ok(
            id,
            format!("{name}: as many entries as master candidates ({entries})"),
        ),
        Some(candidates) => {
            let todo =
                "gnt-cluster verify says which; gnt-cluster copyfile on the master writes it anew";
            let entries = number(entries, "entry");
            let text = format!("{entries}, but {candidates} in ssconf_master_candidates");
            Finding::warning(id, format!("{name}: {text}: {todo}"))
        }
    }
}

/// Findings on the kept map, and on who would be admitted at a start.
pub(super) fn admission(
    state_file: &Path,
    map: &MapFile,
    server: &Pem,
    remembered: &Remembered,
    policy: BootstrapPolicy,
    mode: Mode,
) -> Vec<Finding> {
    let id = "last_good_map";
    let name = state_file.display();
    let Remembered { memory, damaged } = remembered;
    let (kept, policy) = match (damaged, &memory.last_good) {
        (Some((path, why)), _) => {
            let todo =
                "the bootstrap phase stays closed; it is written anew with the next good map";
            let text = format!("{}: {why}: {todo}", path.display());
            (Finding::warning(id, text), BootstrapPolicy::Refuse)
        }
        (None, Some(good)) => {
            let text = format!("{name}: {}", number(good.map.entries(), "candidate"));
            (Finding::ok(id, text), policy)
        }
        (None, None) => (Finding::ok(id, format!("{name}: nothing kept yet")), policy),
    };
    let server = match server {
        Pem::Absent => ServerPem::Absent,
        Pem::Faulty(_) => ServerPem::Faulty,
        Pem::Good(info, _) => ServerPem::Known(info.digest),
    };
    let outcome = match (mode, server) {
        (Mode::Audit, ServerPem::Known(_)) => audit(),
        (Mode::Audit, ServerPem::Absent | ServerPem::Faulty) | (Mode::Enforce, _) => {
            outcome(map, server, memory.clone(), policy)
        }
    };
    vec![kept, outcome]
}

/// In audit mode the map decides nothing.
fn audit() -> Finding {
    let text = "audit mode: every certificate of the cluster is admitted, so every node can command \
                this one; when no refusal is counted any more: `noded-proxy install --apply --mode enforce`";
    Finding::warning("admission", text)
}

/// `1 candidate is`, `2 candidates are`.
fn are(entries: usize) -> String {
    let verb = if entries == 1 { "is" } else { "are" };
    format!("{} {verb}", number(entries, "candidate"))
}

fn outcome(map: &MapFile, server: ServerPem, memory: Memory, policy: BootstrapPolicy) -> Finding {
    let id = "admission";
    let resolved = resolve(map.clone(), server, memory, policy);
    match resolved.admission {
        Admission::Listed(listed) if resolved.stale => {
            let text = format!("{} admitted, of the last good map", are(listed.entries()));
            Finding::warning(
                id,
                format!("{text}, as {map}: gnt-cluster copyfile on the master"),
            )
        }
        Admission::Listed(listed) => Finding::ok(
            id,
            format!("{} admitted, of the map", are(listed.entries())),
        ),
        Admission::Bootstrap(_) => {
            let text = "bootstrap phase: whoever holds server.pem, so every node, is admitted";
            let todo = "gnt-cluster renew-crypto --new-node-certificates, \
                        or admission.bootstrap = \"refuse\"";
            Finding::warning(id, format!("{text}: {todo}"))
        }
        Admission::Nobody(why @ Nobody::NotInCluster) => {
            Finding::warning(id, format!("nobody is admitted: {why}"))
        }
        Admission::Nobody(why @ Nobody::MapGone) => {
            let todo = "gnt-cluster copyfile -n NODE FILE on the master writes it anew, by ssh; if \
                        the cluster is to have none: noded-proxy reset";
            Finding::error(id, format!("nobody is admitted: {why}: {todo}"))
        }
        Admission::Nobody(
            why @ (Nobody::NoIdentity | Nobody::BootstrapRefused | Nobody::NoGoodMap),
        ) => Finding::error(id, format!("nobody is admitted: {why}")),
    }
}

/// Findings on whether this node's own certificate stands in the map exactly if it is a candidate.
pub(super) fn own_entry(path: &Path, client: &Pem, map: &Map, role: &Role) -> Option<Finding> {
    let MapFile::Listed(listed) = &map.file else {
        return None;
    };
    let name = path.display();
    match (client, role) {
        (Pem::Good(info, _), _) => {
            let (digest, is_listed) = (info.digest, listed.contains(&info.digest));
            let renewal = map.lines.iter().any(|(key, _)| is_leftover(key));
            Some(agreement(
                &name.to_string(),
                digest,
                is_listed,
                role,
                renewal,
            ))
        }
        (Pem::Absent, Role::Candidate) => {
            let text = "absent: this master candidate has no certificate for its own RPCs";
            Some(Finding::error(
                "client_pem",
                format!("{name}: {text}: {RENEW}"),
            ))
        }
        (Pem::Absent, Role::Normal | Role::Unknown(_)) => Some(Finding::warning(
            "client_pem",
            format!("{name}: absent: {RENEW}"),
        )),
        (Pem::Faulty(_), _) => None,
    }
}

fn agreement(name: &str, digest: Digest, is_listed: bool, role: &Role, renewal: bool) -> Finding {
    let id = "client_pem_listed";
    let state = if is_listed {
        "in the map"
    } else {
        "not in the map"
    };
    match (role, is_listed) {
        (Role::Unknown(why), _) => {
            let text = "whether it should be cannot be told";
            Finding::warning(id, format!("{name}: {state}; {text}: {why}"))
        }
        (Role::Candidate, true) => Finding::ok(id, format!("{name}: {state}, as of a candidate")),
        (Role::Normal, false) => Finding::ok(id, format!("{name}: {state}, as of a normal node")),
        (Role::Candidate, false) if renewal => {
            let text = format!("{digest} is {state} yet: a renewal is at work");
            Finding::warning(id, format!("{name}: {text}"))
        }
        (Role::Candidate, false) => {
            let text = format!("this node is a master candidate, but {digest} is {state}");
            Finding::error(id, format!("{name}: {text}, its RPCs are refused: {RENEW}"))
        }
        (Role::Normal, true) => {
            let text = format!("this node is no master candidate, but its certificate is {state}");
            Finding::error(
                id,
                format!("{name}: {text}: gnt-cluster verify, then {RENEW}"),
            )
        }
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
