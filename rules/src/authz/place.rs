//! Does the peer's address fit its certificate? (`bind_peer`)
//!
//! Candidates call from their primary address, and `client.pem` names its node (Ganeti 2.12.5 and
//! later). The master may also call from the cluster's own address: in IPv6 clusters where that has a
//! netmask of 128, Linux picks it as the source. It moves with the role, of which a node that was away
//! knows nothing yet, so it fits each candidate. Pure, and closed: while the lists of addresses are
//! not known, no address fits.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::identity::PeerIdentity;

/// What is known of the cluster's addresses and names.
#[derive(Clone, Copy)]
pub(super) struct Cluster<'a> {
    /// Primary addresses of the master candidates.
    pub(super) candidates: &'a HashSet<IpAddr>,
    /// Primary addresses of the nodes by name.
    pub(super) nodes: &'a HashMap<String, IpAddr>,
    /// Common name of `server.pem`.
    pub(super) name: Option<&'a str>,
    /// The cluster's own address (`ssconf_master_ip`).
    pub(super) master_ip: Option<IpAddr>,
}

/// How an address does not fit.
pub(super) enum Misfit {
    /// It is not the address of a master candidate.
    NotCandidate,
    /// It is not the address of the node that the certificate names.
    OtherNode,
}

/// How the peer's address does not fit its certificate; `None` if it does.
pub(super) fn misfit(peer: &PeerIdentity, cluster: Cluster<'_>) -> Option<Misfit> {
    // What is a node's own address is that of no other, whatever ssconf_master_ip says.
    let is_nodes = || cluster.nodes.values().any(|own| *own == peer.address);
    let is_clusters = cluster.master_ip == Some(peer.address) && !is_nodes();
    if !is_clusters && !cluster.candidates.contains(&peer.address) {
        return Some(Misfit::NotCandidate);
    }
    // server.pem, and client.pem as Ganeti made it up to 2.12.4, have the cluster's name. They name
    // no node, so there is nothing to compare.
    let claimed = peer.common_name.as_deref();
    if claimed.is_some() && claimed == cluster.name {
        return None;
    }
    let address = claimed.and_then(|name| cluster.nodes.get(name));
    let fits = address.is_some_and(|address| match is_clusters {
        true => cluster.candidates.contains(address),
        false => *address == peer.address,
    });
    (!fits).then_some(Misfit::OtherNode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use crate::authz::{BindPeer, Denied, Facts, Policy, authorise};
    use crate::identity::Digest;
    use std::sync::Arc;

    const SERVER: Digest = Digest::from_bytes([9; 20]);

    fn peer(cn: Option<&str>, from: &str) -> PeerIdentity {
        PeerIdentity {
            address: from.parse().unwrap(),
            digest: SERVER,
            der: Arc::from([]),
            common_name: cn.map(Into::into),
            not_before: 0,
            not_after: 2_000,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_and_names_as_a_table() {
        let other = Some(Denied::OtherNodesCertificate);
        let nobodys = Some(Denied::AddressNotCandidate);
        let candidates: HashSet<IpAddr> = ["192.0.2.1", "192.0.2.2", "192.0.2.9"].map(ip).into();
        let nodes = [
            ("n1", "192.0.2.1"),
            ("n2", "192.0.2.2"),
            ("n3", "192.0.2.3"),
        ];
        let nodes: HashMap<String, IpAddr> = nodes.map(|(n, a)| (n.into(), ip(a))).into();
        let none = HashSet::new();
        let table = [
            (Some("n1"), "192.0.2.1", &candidates, None),
            (Some("n1"), "192.0.2.2", &candidates, other),
            (Some("n3"), "192.0.2.3", &candidates, nobodys),
            (Some("n1"), "198.51.100.7", &candidates, nobodys),
            (Some("n1"), "192.0.2.9", &candidates, other), // a candidate that has no name
            (Some("n7"), "192.0.2.1", &candidates, other), // a name that no node has
            (None, "192.0.2.1", &candidates, other),
            (Some("ganeti.example.com"), "192.0.2.1", &candidates, None),
            (
                Some("ganeti.example.com"),
                "192.0.2.3",
                &candidates,
                nobodys,
            ),
            (Some("n1"), "192.0.2.1", &none, nobodys), // nothing known: closed
            // The cluster's own address: for each candidate, whoever was master when this node last heard.
            (Some("n1"), "2001:db8::200", &candidates, None),
            (Some("n2"), "2001:db8::200", &candidates, None),
            (Some("n3"), "2001:db8::200", &candidates, other),
            (Some("n7"), "2001:db8::200", &candidates, other),
            (None, "2001:db8::200", &candidates, other),
            (Some("n1"), "2001:db8::201", &candidates, nobodys),
            (Some("n1"), "2001:db8::200", &none, other),
            (Some("ganeti.example.com"), "2001:db8::200", &none, None),
        ];
        for (cn, from, candidates, expected) in table {
            let admission = Admission::Bootstrap(SERVER);
            let facts = Facts {
                admission: &admission,
                known: None,
                candidate_addresses: candidates,
                primary_addresses: &nodes,
                cluster: Some("ganeti.example.com"),
                master_ip: Some(ip("2001:db8::200")),
                of_the_cluster: false,
                excludes_clients: false,
                now: 1_000,
            };
            let peer = peer(cn, from);
            let ask = |bind_peer| {
                let policy = Policy {
                    bind_peer,
                    ..Policy::default()
                };
                authorise(&peer, &facts, policy)
            };
            let warned = ask(BindPeer::Warn).map(|permit| permit.misplaced());
            assert_eq!(warned, Ok(expected), "{cn:?} from {from}");
            assert_eq!(ask(BindPeer::Enforce).err(), expected, "{cn:?} from {from}");
            let off = ask(BindPeer::Off).map(|permit| permit.misplaced());
            assert_eq!(off, Ok(None), "{cn:?} from {from}");
        }
    }

    /// A stolen certificate gets no second place by a false `ssconf_master_ip`.
    #[test]
    fn a_nodes_own_address_never_counts_as_the_clusters() {
        let candidates: HashSet<IpAddr> = ["192.0.2.1", "192.0.2.2"].map(ip).into();
        let nodes = ["1", "2", "3"].map(|n| (format!("n{n}"), ip(&format!("192.0.2.{n}"))));
        let nodes = HashMap::from(nodes);
        let ask = |cn, from, master_ip| {
            let cluster = Cluster {
                candidates: &candidates,
                nodes: &nodes,
                name: None,
                master_ip: Some(ip(master_ip)),
            };
            misfit(&peer(Some(cn), from), cluster)
        };
        let of_a_candidate = ask("n1", "192.0.2.2", "192.0.2.2");
        assert!(matches!(of_a_candidate, Some(Misfit::OtherNode)));
        let of_a_normal_node = ask("n1", "192.0.2.3", "192.0.2.3");
        assert!(matches!(of_a_normal_node, Some(Misfit::NotCandidate)));
        assert!(ask("n2", "192.0.2.2", "192.0.2.2").is_none(), "its own");
        assert!(
            ask("n1", "192.0.2.9", "192.0.2.9").is_none(),
            "the cluster's"
        );
    }
}
