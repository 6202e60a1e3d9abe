use super::*;
use crate::admission::Admission;
use crate::authz;
use crate::candidates::{MapFile, parse};
use crate::identity::{Digest, PeerIdentity};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const NOBODY_KNOWS: Role<'_> = Role::Unknown("nobody knows");

fn policy(text: &str) -> Policy {
    toml::from_str(text).unwrap()
}

fn strict() -> Policy {
    #[derive(Deserialize)]
    struct File {
        policy: Policy,
    }
    let text = include_str!("../../../config/policy-strict.toml");
    toml::from_str::<File>(text).unwrap().policy
}

/// `+` for a call that may pass, else the list that forbids it.
fn asked(policy: &Policy, procedure: &str, role: Role<'_>) -> &'static str {
    let result = policy.check(procedure, role);
    result.map_or_else(|forbidden| forbidden.list.name(), |()| "+")
}

#[test]
fn the_rules_as_a_table() {
    use Role::{Master, OtherCandidate as Other};
    let none = Policy::default();
    let named = policy("deny = ['run_oob']\nallow_from_master_only = ['node_info']");
    let classes = policy("deny = ['dangerous']\nallow_from_master_only = ['mutating']");
    let excepted = policy("allow_from_master_only = ['!version', 'read_only', 'dangerous']");
    let odd = policy("deny = ['!dangerous', 'run_oob', 'test_delay']");
    let (deny, master_only) = ("deny", "allow_from_master_only");
    let table = [
        ("no rules", &none, "run_oob", Other, "+"),
        (
            "no rules, unknown role",
            &none,
            "never_heard",
            NOBODY_KNOWS,
            "+",
        ),
        ("named, master too", &named, "run_oob", Master, deny),
        ("named, other", &named, "node_info", Other, master_only),
        ("named, master", &named, "node_info", Master, "+"),
        (
            "named, unknown role",
            &named,
            "node_info",
            NOBODY_KNOWS,
            master_only,
        ),
        ("not named", &named, "version", NOBODY_KNOWS, "+"),
        ("class denied", &classes, "upload_file", Master, deny),
        (
            "class for the master",
            &classes,
            "blockdev_create",
            Other,
            master_only,
        ),
        (
            "class for the master, asked by it",
            &classes,
            "blockdev_create",
            Master,
            "+",
        ),
        ("other class", &classes, "version", Other, "+"),
        (
            "unknown procedures are dangerous",
            &classes,
            "never_heard",
            Master,
            deny,
        ),
        ("excepted", &excepted, "version", Other, "+"),
        ("not excepted", &excepted, "node_info", Other, master_only),
        (
            "unknown is dangerous here too",
            &excepted,
            "never_heard",
            Other,
            master_only,
        ),
        ("a class as exception", &odd, "run_oob", Other, "+"),
        ("outside of the exception", &odd, "test_delay", Other, deny),
    ];
    for (case, policy, procedure, role, expected) in table {
        assert_eq!(asked(policy, procedure, role), expected, "{case}");
    }
}

#[test]
fn a_refusal_names_key_and_rule() {
    let policy = policy("deny = ['dangerous']\nallow_from_master_only = ['node_info']");
    let told = |procedure, role| policy.check(procedure, role).unwrap_err().to_string();
    assert_eq!(
        told("run_oob", Role::Master),
        "policy.deny = \"dangerous\" forbids run_oob"
    );
    assert_eq!(
        told("node_info", Role::OtherCandidate),
        "policy.allow_from_master_only = \"node_info\" forbids node_info to candidates other than the master"
    );
    assert_eq!(
        told("node_info", NOBODY_KNOWS),
        "policy.allow_from_master_only = \"node_info\" forbids node_info: \
         the caller may be the master, but nobody knows"
    );
}

fn permit(bootstrap: bool) -> Permit {
    let peer = PeerIdentity {
        address: [127, 0, 0, 1].into(),
        digest: Digest::from_bytes([1; 20]),
        der: Arc::from([]),
        common_name: None,
        not_before: 0,
        not_after: 2,
    };
    let admission = match parse(format!("u1={}", peer.digest).as_bytes()) {
        _ if bootstrap => Admission::Bootstrap(peer.digest),
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other:?}"),
    };
    let facts = authz::Facts {
        admission: &admission,
        known: None,
        candidate_addresses: &HashSet::new(),
        primary_addresses: &HashMap::new(),
        cluster: None,
        of_the_cluster: true,
        now: 1,
    };
    authz::authorise(&peer, &facts, authz::Policy::default()).unwrap()
}

#[test]
fn roles_as_a_table() {
    let master = Some("node1.example.com");
    let table = [
        (
            "the master",
            false,
            Some("node1.example.com"),
            master,
            "Master",
        ),
        (
            "another",
            false,
            Some("node2.example.com"),
            master,
            "OtherCandidate",
        ),
        (
            "a part of its name",
            false,
            Some("node1"),
            master,
            "OtherCandidate",
        ),
        (
            "self-signed",
            false,
            Some("ganeti.example.com"),
            master,
            "Unknown",
        ),
        ("nameless", false, None, master, "Unknown"),
        (
            "nobody is master",
            false,
            Some("node1.example.com"),
            None,
            "Unknown",
        ),
        (
            "bootstrap phase",
            true,
            Some("node1.example.com"),
            master,
            "Unknown",
        ),
        // Not even a cluster that is called like its master makes self-signed ones masters.
        (
            "same names",
            false,
            Some("ganeti.example.com"),
            Some("ganeti.example.com"),
            "Unknown",
        ),
    ];
    for (case, bootstrap, common_name, master, expected) in table {
        let names = PeerNames {
            common_name,
            cluster: Some("ganeti.example.com"),
        };
        let permit = permit(bootstrap);
        let role = format!("{:?}", Role::of(&permit, &names, master));
        assert!(role.starts_with(expected), "{case}: {role}");
    }
}

#[test]
fn rules_that_are_none_are_found_when_the_file_is_read() {
    for text in ["", "!", "Version", "a-b", "!!version", "*"] {
        let problem = text.parse::<Rule>().unwrap_err();
        assert!(problem.contains("expected a procedure"), "{problem}");
    }
    for text in ["version", "!dangerous", "read_only", "x509_cert_create"] {
        assert_eq!(
            text.parse::<Rule>().unwrap().to_string(),
            format!("{text:?}")
        );
    }
    let slip = policy("deny = ['run_obb', 'mutating']\nallow_from_master_only = ['!vesrion']");
    assert_eq!(
        slip.unknown_procedures().collect::<Vec<_>>(),
        ["run_obb", "vesrion"]
    );
}

#[test]
fn the_shipped_example_lets_every_normal_operation_through() {
    let strict = strict();
    assert_eq!(strict.unknown_procedures().next(), None);
    assert!(!strict.audit);
    let never = ["restricted_command"];
    for procedure in procedures::TABLE {
        let expected = if never.contains(&procedure.name) {
            "deny"
        } else {
            "+"
        };
        assert_eq!(
            asked(&strict, procedure.name, Role::Master),
            expected,
            "{procedure:?}"
        );
    }
    // What a candidate calls that is not (yet) the master: `lib/bootstrap.py`, `MasterFailover`, and
    // `gnt-cluster redist-conf` on a new master that this node has not heard of.
    for procedure in [
        "version",
        "master_node_name",
        "upload_file",
        "upload_file_single",
        "write_ssconf_files",
        "node_deactivate_master_ip",
        "node_stop_master",
        "node_start_master_daemons",
        "node_activate_master_ip",
    ] {
        assert_eq!(
            asked(&strict, procedure, Role::OtherCandidate),
            "+",
            "{procedure}"
        );
    }
    for procedure in [
        "instance_start",
        "run_oob",
        "blockdev_remove",
        "node_leave_cluster",
        "new_one",
    ] {
        assert_eq!(
            asked(&strict, procedure, Role::OtherCandidate),
            "allow_from_master_only",
            "{procedure}"
        );
    }
}
