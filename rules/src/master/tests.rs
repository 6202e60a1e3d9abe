use super::*;
use crate::admission::Admission;
use crate::authz;
use crate::candidates::{MapFile, parse};
use crate::identity::Digest;
use std::collections::HashSet;
use std::sync::Arc;

const N1: &str = "n1.example.com";
const N2: &str = "n2.example.com";
const CLUSTER: &str = "ganeti.example.com";

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// A peer with this name, and its permit under this key of the map.
fn admitted(key: &str, name: Option<&str>, from: IpAddr) -> (Permit, PeerIdentity) {
    let peer = PeerIdentity {
        address: from,
        digest: Digest::from_bytes([1; 20]),
        der: Arc::from([]),
        common_name: name.map(Into::into),
        not_before: 0,
        not_after: 2,
    };
    let admission = match parse(format!("{key}={}", peer.digest).as_bytes()) {
        _ if key == "server.pem" => Admission::Bootstrap(peer.digest),
        _ if key == "audit" => Admission::Bootstrap(Digest::from_bytes([2; 20])),
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other:?}"),
    };
    let facts = authz::Facts {
        admission: &admission,
        known: None,
        candidate_addresses: &HashSet::new(),
        primary_addresses: &HashMap::new(),
        cluster: None,
        master_ip: None,
        of_the_cluster: true,
        excludes_clients: false,
        now: 1,
    };
    let mode = authz::Mode::Audit;
    let policy = authz::Policy {
        mode,
        ..authz::Policy::default()
    };
    (authz::authorise(&peer, &facts, policy).unwrap(), peer)
}

fn names(list: &[&str]) -> BTreeSet<Box<str>> {
    list.iter().map(|name| Box::from(*name)).collect()
}

fn seat(text: &str) -> Seat {
    Seat::parse(text).unwrap()
}

#[test]
fn roles_as_a_table() {
    let addresses: HashMap<String, IpAddr> = [(N1, 1), (N2, 2)]
        .map(|(name, last)| (name.into(), ip(last)))
        .into();
    let known = seat("n1.example.com u1");
    let new = seat(N1);
    let no_address = seat("n9.example.com");
    let odd = seat(CLUSTER);
    let table = [
        ("the master", Some(&known), "u1", Some(N1), 1, "Master"),
        (
            "from the cluster's address",
            Some(&known),
            "u1",
            Some(N1),
            200,
            "Master",
        ),
        (
            "its certificate is not known yet",
            Some(&new),
            "u7",
            Some(N1),
            1,
            "Master",
        ),
        (
            "in renew-crypto",
            Some(&known),
            "bootstrap",
            Some(N1),
            1,
            "Master",
        ),
        // Whoever has server.pem can make a certificate with the master's name.
        (
            "a certificate of its name",
            Some(&known),
            "u2",
            Some(N1),
            1,
            "Unknown(\"its certif",
        ),
        (
            "its name, another address",
            Some(&known),
            "u1",
            Some(N1),
            2,
            "Unknown(\"it does not",
        ),
        (
            "new, another address",
            Some(&new),
            "u2",
            Some(N1),
            2,
            "Unknown(\"it does not",
        ),
        (
            "no address",
            Some(&no_address),
            "u9",
            Some("n9.example.com"),
            9,
            "Unknown(\"ssconf_node",
        ),
        ("announced", Some(&known), "u2", Some(N2), 2, "Successor"),
        (
            "announced, another address",
            Some(&known),
            "u2",
            Some(N2),
            3,
            "OtherCandidate",
        ),
        (
            "announced, the cluster's address",
            Some(&known),
            "u2",
            Some(N2),
            200,
            "OtherCandidate",
        ),
        (
            "another",
            Some(&known),
            "u3",
            Some("n3.example.com"),
            3,
            "OtherCandidate",
        ),
        (
            "a part of its name",
            Some(&known),
            "u1",
            Some("n1"),
            1,
            "OtherCandidate",
        ),
        (
            "self-signed",
            Some(&known),
            "u1",
            Some(CLUSTER),
            1,
            "Unknown(\"its self-signed",
        ),
        (
            "the same names",
            Some(&odd),
            "u1",
            Some(CLUSTER),
            1,
            "Unknown(\"its self-signed",
        ),
        (
            "nameless",
            Some(&known),
            "u1",
            None,
            1,
            "Unknown(\"its certificate has no",
        ),
        (
            "nobody is master",
            None,
            "u1",
            Some(N1),
            1,
            "Unknown(\"ssconf_master_node",
        ),
        (
            "bootstrap phase",
            Some(&known),
            "server.pem",
            Some(N1),
            1,
            "Unknown(\"every node",
        ),
        (
            "admission's audit mode",
            Some(&known),
            "audit",
            Some(N1),
            1,
            "Unknown(\"its certificate is",
        ),
    ];
    let announced = names(&[N2]);
    for (case, seat, key, name, from, expected) in table {
        let facts = Facts {
            seat,
            announced: &announced,
            addresses: &addresses,
            master_ip: Some(ip(200)),
            cluster: Some(CLUSTER),
        };
        let (permit, peer) = admitted(key, name, ip(from));
        let role = format!("{:?}", Role::of(&permit, &peer, &facts));
        assert!(role.starts_with(expected), "{case}: {role}");
    }
}

#[test]
fn the_seat_as_a_table() {
    let table = [
        ("the first one", None, Some(N1), &[][..], Some(N1), false),
        ("nothing known", None, None, &[], None, false),
        (
            "the same",
            Some("n1.example.com u1"),
            Some(N1),
            &[],
            Some("n1.example.com u1"),
            false,
        ),
        (
            "the file is gone",
            Some("n1.example.com u1"),
            None,
            &[],
            Some("n1.example.com u1"),
            false,
        ),
        (
            "a candidate's own write",
            Some("n1.example.com u1"),
            Some(N2),
            &[],
            Some("n1.example.com u1"),
            true,
        ),
        (
            "another one is announced",
            Some("n1.example.com u1"),
            Some(N2),
            &["n3.example.com"],
            Some("n1.example.com u1"),
            true,
        ),
        (
            "a failover",
            Some("n1.example.com u1"),
            Some(N2),
            &[N2],
            Some(N2),
            false,
        ),
        (
            "announced, not yet done",
            Some("n1.example.com u1"),
            Some(N1),
            &[N2],
            Some("n1.example.com u1"),
            false,
        ),
    ];
    for (case, old, named, announced, expected, doubted) in table {
        let (found, doubt) = follow(old.map(seat), named, &names(announced));
        assert_eq!(found, expected.map(seat), "{case}");
        assert_eq!(doubt.is_some(), doubted, "{case}");
        if let Some(doubt) = doubt {
            let words = doubt.to_string();
            assert!(
                words.contains("names n2.example.com, which n1.example.com did not"),
                "{words}"
            );
            assert!(
                words.contains("tag noded-proxy:successor:n2.example.com"),
                "{words}"
            );
        }
    }
}

#[test]
fn the_key_of_the_master_is_kept_when_it_is_the_only_one_with_its_name() {
    let known = "n1.example.com u1";
    // The keys of the map; those that name the master have a mark.
    let table: [(&str, &[&str], Option<&str>); 10] = [
        (N1, &[], None),
        (N1, &["u1", "u2"], None),
        (N1, &["u1!", "u2"], Some("u1")),
        (N1, &["u1!", "u2!"], None),
        (N1, &["bootstrap!"], None),
        (known, &["u1!", "u2!"], Some("u1")),
        (known, &["u1", "u2!"], Some("u1")),
        (known, &["bootstrap!", "u2"], Some("u1")),
        (known, &[], Some("u1")),
        (known, &["u2", "u7!"], Some("u7")),
    ];
    for (old, keys, expected) in table {
        let mut seat = seat(old);
        let parts = keys.iter().map(|key| match key.strip_suffix('!') {
            Some(key) => (key, true),
            None => (*key, false),
        });
        seat.learn_key(parts);
        assert_eq!(seat.key.as_deref(), expected, "{old} {keys:?}");
    }
}

#[test]
fn a_seat_is_read_as_it_is_written_and_an_administrator_may_write_the_name_alone() {
    for text in [
        N1,
        "n1.example.com u1",
        "n1.example.com\n",
        "n1.example.com  u1 \n",
    ] {
        let seat = seat(text);
        assert_eq!(Seat::parse(&seat.to_string()), Some(seat), "{text:?}");
    }
    for text in ["", "\n", "a b c"] {
        assert_eq!(Seat::parse(text), None, "{text:?}");
    }
}

#[test]
fn announcements_are_tags_of_the_cluster() {
    let tags = [
        "htools:x",
        "noded-proxy:successor:n2",
        "noded-proxy:successor:",
        "successor:n3",
    ];
    let found = announced(tags.into_iter());
    assert_eq!(found, names(&["n2"]));
}
