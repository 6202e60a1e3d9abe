//! Who this node is, and which UUIDs are the master candidates', as far as one node can say.
//! What nobody knows is never guessed.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::ids::Id;
use super::known::Known;
use super::observed::{Observed, Seen};

/// Whether this node is a master candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Candidate,
    Normal,
    Unknown,
}

/// What was read, with what follows for this node's place in the cluster.
pub(super) struct Place<'a> {
    pub(super) seen: &'a Observed,
    pub(super) role: Role,
    /// This node's UUID. Normal nodes do not know theirs.
    pub(super) uuid: Option<&'a str>,
    /// The candidates' UUIDs: those of the configuration, else those of the map.
    pub(super) candidates: Option<BTreeSet<&'a str>>,
    /// Whose the keys are.
    pub(super) known: Known<'a>,
}

impl<'a> Place<'a> {
    pub(super) fn of(seen: &'a Observed) -> Self {
        let role = role(seen);
        let candidates = candidates(seen);
        let uuid = own_uuid(seen, role);
        Self {
            seen,
            role,
            uuid,
            candidates,
            known: Known::of(seen),
        }
    }

    /// Whether this is a node at all, though perhaps one that is broken.
    pub(super) fn is_node(&self) -> bool {
        let server = &self.seen.certificates.server.certificate;
        self.seen.lists.nodes.is_some() || *server != Seen::Absent
    }

    /// Whether a UUID is that of a candidate. Nobody is one while nobody knows.
    pub(super) fn is_candidate(&self, uuid: &str) -> bool {
        let known = self.candidates.as_ref();
        known.is_some_and(|known| known.contains(uuid))
    }

    /// Whether one of these UUIDs is that of a candidate.
    pub(super) fn any_candidate(&self, uuids: &[&str]) -> bool {
        uuids.iter().any(|uuid| self.is_candidate(uuid))
    }

    /// A node as people call it.
    pub(super) fn name(&self, uuid: &str) -> String {
        self.known.name(uuid)
    }

    /// Findings on what is not known.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let seen = self.seen;
        let unreadable = |path: &str, why: &str| Finding::new(Id::Unreadable, path, why);
        let mut found: Vec<Finding> = Vec::new();
        let listed = seen.lists.nodes.iter().flatten();
        if self.role == Role::Unknown && !listed.into_iter().any(|node| *node == seen.host) {
            let text = format!("{} is in none of Ganeti's lists of nodes", seen.host);
            found.push(Finding::new(Id::NotANode, &seen.host, text));
        }
        let forbidden = seen.forbidden.iter();
        found.extend(forbidden.map(|path| unreadable(path, "this user may not read it")));
        for (name, list) in [
            ("ssconf_node_list", &seen.lists.nodes),
            ("ssconf_master_candidates", &seen.lists.candidates),
        ] {
            found.extend(
                list.is_none()
                    .then(|| unreadable(name, "it is not there, or cannot be read")),
            );
        }
        if let Seen::Faulty(why) = &seen.configuration {
            found.push(unreadable("config.data", why));
        }
        if let Seen::Faulty(why) = &seen.ssh.pub_keys {
            found.push(unreadable("ganeti_pub_keys", why));
        }
        if let Seen::Faulty(why) = &seen.ssh.pairs {
            found.push(unreadable("noded-proxy-ssh-keys/pairs", why));
        }
        if let Seen::Faulty(why) = &seen.rapi_users {
            found.push(unreadable("rapi/users", why));
        }
        found
    }
}

fn role(seen: &Observed) -> Role {
    let has = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.contains(&seen.host));
    match (has(&seen.lists.nodes), has(&seen.lists.candidates)) {
        (_, Some(true)) => Role::Candidate,
        (Some(true), Some(false)) => Role::Normal,
        _ => Role::Unknown,
    }
}

fn candidates(seen: &Observed) -> Option<BTreeSet<&str>> {
    if let Some(configured) = seen.configuration.good() {
        let candidates = configured
            .nodes
            .iter()
            .filter(|(_, node)| node.master_candidate);
        return Some(candidates.map(|(uuid, _)| uuid.as_str()).collect());
    }
    let map = seen.map.good()?;
    Some(map.iter().map(|(uuid, _)| uuid.as_str()).collect())
}

/// By name in the configuration; else by its own certificate, if that bears its name.
fn own_uuid(seen: &Observed, role: Role) -> Option<&str> {
    if let Some(configured) = seen.configuration.good() {
        let mut nodes = configured.nodes.iter();
        return nodes
            .find(|(_, node)| node.name == seen.host)
            .map(|(uuid, _)| uuid.as_str());
    }
    let own = seen.certificates.client.certificate.good()?;
    let is_own = role == Role::Candidate && own.common_name.as_deref() == Some(&seen.host);
    let mut map = seen.map.good()?.iter();
    let entry = map.find(|(_, digest)| *digest == own.digest && is_own)?;
    Some(&entry.0)
}
