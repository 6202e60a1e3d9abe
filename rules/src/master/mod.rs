//! Who is master, as this node believes it, and which callers have a master's rights.
//!
//! `ssconf_master_node` alone tells nothing: whoever may write ssconf could name itself. So the
//! first master that a node sees is kept (its *seat*), and the seat passes to another node only if
//! the old master announced it, by the cluster tag `noded-proxy:successor:NAME`, which Ganeti's
//! master pushes to all nodes over its own connection, or if the administrator of the node says so.
//! A caller has the seat's rights if its certificate names the seat, it calls from that node's
//! address, and the certificate stands in the map under the key that the seat's certificate always
//! had.
//!
//! Pure: values in, values out. This file must never take a name from the caller for its proof.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::authz::Permit;
use crate::identity::PeerIdentity;

/// What the tag of a successor begins with.
pub const TAG: &str = "noded-proxy:successor:";

/// Key of the map under which the master's new certificate stands during `renew-crypto`.
const RENEWAL: &str = "bootstrap";

/// The master in which a node believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its name.
    pub name: Box<str>,
    /// The key of its certificate in the candidate map, once that was seen.
    pub key: Option<Box<str>>,
}

impl Seat {
    /// The seat of a node whose certificate was not seen yet.
    pub fn of(name: &str) -> Self {
        Self {
            name: name.into(),
            key: None,
        }
    }

    /// Keeps the key of the certificate that names the seat, once there is one. `keys` are those of
    /// the map, each with whether its certificate is known to name the seat. Two such certificates
    /// are one too many: whoever has `server.pem` can make another one with the master's name. A
    /// key that has left the map (the node was added again) is replaced.
    pub fn learn_key<'a>(&mut self, keys: impl Iterator<Item = (&'a str, bool)>) {
        let keys: Vec<(&str, bool)> = keys.collect();
        let is_there = |key: &str| keys.iter().any(|(other, _)| *other == key);
        if self.key.as_deref().is_some_and(is_there) {
            return;
        }
        let mut naming = keys.iter().filter(|(_, names)| *names);
        if let (Some((key, _)), None) = (naming.next(), naming.next())
            && *key != RENEWAL
        {
            self.key = Some((*key).into());
        }
    }

    /// As it is kept: the name, and the key behind a space.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let name = words.next()?.into();
        let key = words.next().map(Into::into);
        words.next().is_none().then_some(Self { name, key })
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_deref().unwrap_or("");
        write!(f, "{} {key}", self.name)
    }
}

/// ssconf names a master that nobody announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error(
    "ssconf_master_node names {named}, which {seat} did not announce as its successor (the cluster \
     tag {TAG}{named}): {seat} stays the master here until it does, or until an administrator \
     writes the new name into the state directory's file \"master\" and reloads"
)]
pub struct Doubt {
    named: Box<str>,
    seat: Box<str>,
}

/// Who has the seat, now that ssconf says this.
pub fn follow(
    seat: Option<Seat>,
    named: Option<&str>,
    announced: &BTreeSet<Box<str>>,
) -> (Option<Seat>, Option<Doubt>) {
    match (seat, named) {
        (seat, None) => (seat, None),
        (None, Some(first)) => (Some(Seat::of(first)), None),
        (Some(seat), Some(named)) if *seat.name == *named => (Some(seat), None),
        (Some(_), Some(named)) if announced.contains(named) => (Some(Seat::of(named)), None),
        (Some(seat), Some(named)) => {
            let doubt = Doubt {
                named: named.into(),
                seat: seat.name.clone(),
            };
            (Some(seat), Some(doubt))
        }
    }
}

/// The successors that the tags of the cluster announce.
pub fn announced<'a>(tags: impl Iterator<Item = &'a str>) -> BTreeSet<Box<str>> {
    tags.filter_map(|tag| tag.strip_prefix(TAG))
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(Into::into)
        .collect()
}

/// What tells a caller's role.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The master in which this node believes.
    pub seat: Option<&'a Seat>,
    /// The nodes that the master announced as its successors.
    pub announced: &'a BTreeSet<Box<str>>,
    /// Primary addresses of the nodes by name (`ssconf_node_primary_ips`).
    pub addresses: &'a HashMap<String, IpAddr>,
    /// The cluster's own address, from which a master may call too (`ssconf_master_ip`).
    pub master_ip: Option<IpAddr>,
    /// Common name of `server.pem`, which self-signed certificates have as well.
    pub cluster: Option<&'a str>,
}

/// Who asks, as far as the policy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The master.
    Master,
    /// A node that the master announced as its successor: it has a master's rights.
    Successor,
    /// The certificate names another node.
    OtherCandidate,
    /// It cannot be told, and why.
    Unknown(&'static str),
}

impl Role {
    /// The role of an admitted peer.
    pub fn of(permit: &Permit, peer: &PeerIdentity, facts: &Facts<'_>) -> Self {
        match permit.key() {
            "server.pem" => {
                let why = "every node has server.pem, so it says nothing of the caller's role";
                return Self::Unknown(why);
            }
            "audit" => return Self::Unknown("its certificate is not in the candidate map"),
            _ => {}
        }
        let Some(seat) = facts.seat else {
            return Self::Unknown("ssconf_master_node does not name the master");
        };
        let Some(name) = peer.common_name.as_deref() else {
            return Self::Unknown("its certificate has no common name");
        };
        if facts.cluster == Some(name) {
            return Self::Unknown(
                "its self-signed certificate names no node; \
                 gnt-cluster renew-crypto --new-node-certificates makes one that does",
            );
        }
        let home = facts.addresses.get(name).copied();
        if *seat.name == *name {
            Self::of_the_seat(permit.key(), peer.address, seat, home, facts.master_ip)
        } else if facts.announced.contains(name) && home == Some(peer.address) {
            Self::Successor
        } else {
            Self::OtherCandidate
        }
    }

    fn of_the_seat(
        key: &str,
        address: IpAddr,
        seat: &Seat,
        home: Option<IpAddr>,
        master_ip: Option<IpAddr>,
    ) -> Self {
        let key_fits = seat.key.as_deref().is_none_or(|known| known == key) || key == RENEWAL;
        match home {
            _ if !key_fits => Self::Unknown(
                "its certificate is not the one under which the master is known in the map",
            ),
            None => Self::Unknown("ssconf_node_primary_ips has no address of the master"),
            Some(home) if home == address || master_ip == Some(address) => Self::Master,
            Some(_) => Self::Unknown("it does not call from the master's address"),
        }
    }
}

#[cfg(test)]
mod tests;
