//! The forms of a report: each finding once with its nodes, and none hidden by another node's.

use super::report::{How, Node, Report};
use super::{json, line, metrics, text};
use crate::commands::verify::looked::tests::looked;
use crate::commands::verify::metrics::tests::assert_told;
use rules::verify::{Finding, Id};

fn findings(ids: &[Id]) -> Vec<Finding> {
    looked(ids, &[]).findings
}

fn node(name: &str, how: How, ids: &[Id]) -> Node {
    Node::unseen(name, how, findings(ids))
}

fn report(nodes: Vec<Node>, in_common: &[Id]) -> Report {
    Report {
        cluster: "c.x".into(),
        master: "n1".into(),
        at: 7,
        nodes,
        in_common: findings(in_common),
    }
}

/// One of each.
fn mixed() -> Report {
    let mut files = node("n3", How::Files, &[Id::SshDsa, Id::ClientStolen]);
    files.not_looked_at = vec!["the running proxy"];
    let mut away = node("n5", How::Offline, &[]);
    away.is_offline = true;
    let nodes = vec![
        node("n1", How::Here, &[]),
        node("n2", How::Program, &[Id::SshDsa]),
        files,
        node("n4", How::Unseen, &[Id::NodeUnreachable]),
        away,
    ];
    report(nodes, &[Id::SshKeyTwice])
}

#[test]
fn people_see_each_finding_once_with_its_nodes() {
    let expected = "\
node errors warnings looked at
n3   1      1        by its files, over ssh
n4   1      0        no
n2   0      1        by its noded-proxy
n5   0      0        no: offline
1 node: nothing found

error    client_stolen: subject: what
         on:  n3
         why: theft: this node can command every node in the other's name
         do:  take the key away; gnt-cluster renew-crypto --new-node-certificates; find out who \
copied it
error    node_unreachable: subject: what
         on:  n4
         why: nothing is known of it, so its findings are missing
         do:  log in to it from the master as root; take a dead node offline (gnt-node modify \
--offline=yes NODE)
warning  ssh_dsa: subject: what
         on:  n2, n3
         why: OpenSSH 10 (Debian 13) does not know DSA: after the upgrade no node reaches another
         do:  before the upgrade: gnt-cluster renew-crypto --new-ssh-keys --ssh-key-type=rsa --no-ssh-key-check
warning  ssh_key_twice: subject: what
         why: root on one of them can log in wherever the others can
         do:  one pair of all nodes: noded-proxy ssh-keys on the master; else delete it, or put it in verify.allow_ssh_keys
not looked at: the running proxy, on n3
c.x: 5 nodes, 3 seen: 2 errors, 3 warnings
";
    assert_eq!(text::render(&mixed()), expected);
}

#[test]
fn a_clean_cluster_is_one_line_and_what_all_have_is_said_once() {
    let of = |ids: &[Id]| {
        let nodes = ["n1", "n2", "n3"].map(|name| node(name, How::Program, ids));
        report(nodes.into(), &[])
    };
    let clean = of(&[]);
    let expected = "3 nodes: nothing found\n\nc.x: 3 nodes, 3 seen: 0 errors, 0 warnings\n";
    assert_eq!(
        (text::render(&clean).as_str(), clean.status()),
        (expected, 0)
    );
    let line = "VERIFY OK - c.x: 3 nodes, 3 seen: 0 errors, 0 warnings \
                | nodes=3 seen=3 errors=0;;0 warnings=0;0";
    assert_eq!(line::nagios(&clean), (line.into(), 0));
    let same = of(&[Id::SshDsa]);
    let text = text::render(&same);
    assert!(
        text.contains("on:  all nodes that were looked at\n"),
        "{text}"
    );
    assert_eq!((text.matches("ssh_dsa").count(), same.status()), (1, 1));
    assert!(line::nagios(&same).0.starts_with("VERIFY WARNING - c.x: "));
    assert_eq!(line::nagios(&same).1, 1);
}

#[test]
fn nagios_names_each_kind_once_and_the_numbers_count_all() {
    let (line, status) = line::nagios(&mixed());
    let expected = "VERIFY CRITICAL - c.x: 5 nodes, 3 seen: 2 errors, 3 warnings: \
                    client_stolen on n3: what; node_unreachable on n4: what; ssh_dsa on n2: what \
                    | nodes=5 seen=3 errors=2;;0 warnings=3;0";
    assert_eq!((line.as_str(), status), (expected, 2));
    let mut forged = mixed();
    for node in &mut forged.nodes {
        let found = node.findings.iter_mut();
        found.for_each(|found| found.what = "x; OK on n2: all is well | errors=0;;1\n".into());
        node.name += "; n9";
    }
    forged.cluster = "c|x; y".into();
    let expected = "VERIFY CRITICAL - c/x, y: 5 nodes, 3 seen: 2 errors, 3 warnings: \
                    client_stolen on n3, n9: x, OK on n2: all is well / errors=0,,1 ; \
                    node_unreachable on n4, n9: x, OK on n2: all is well / errors=0,,1 ; \
                    ssh_dsa on n2, n9: x, OK on n2: all is well / errors=0,,1  \
                    | nodes=5 seen=3 errors=2;;0 warnings=3;0";
    assert_eq!(line::nagios(&forged).0, expected);
}

#[test]
fn a_node_with_thousands_of_findings_hides_nobodys() {
    let many = |name: &str, ids: &[Id]| {
        let mut all = findings(&vec![Id::ClientStolen; 5000]);
        for (at, found) in all.iter_mut().enumerate() {
            found.subject = format!("{name}-{at:05}");
        }
        let mut node = node(name, How::Program, ids);
        node.add(all);
        node
    };
    let nodes = vec![
        many("n1", &[Id::SshDsa]),
        node("n2", How::Program, &[Id::NodeMute]),
    ];
    let report = report(nodes, &[]);
    let document = json::document(&report);
    let of = |at: usize, key: &str| document["nodes"][at][key].clone();
    assert_eq!(
        (of(0, "errors"), of(0, "left_out")),
        (5000.into(), 4701.into())
    );
    assert_eq!(of(0, "findings").as_array().unwrap().len(), 300);
    assert_eq!(of(1, "findings")[0]["id"], "node_mute");
    let text = text::render(&report);
    assert!(
        text.contains("n1: 4701 more: noded-proxy verify there"),
        "{text}"
    );
    let (line, _) = line::nagios(&report);
    assert!(
        line.contains("node_mute on n2") && line.len() < 400,
        "{line}"
    );
}

#[test]
fn the_document_has_the_nodes_and_what_they_have_in_common() {
    let document = json::document(&mixed());
    for (key, value) in [("cluster", "c.x"), ("master", "n1")] {
        assert_eq!(document[key], value);
    }
    assert_eq!(
        (&document["at"], &document["errors"]),
        (&7.into(), &2.into())
    );
    assert_eq!(document["findings"][0]["id"], "ssh_key_twice");
    let looked_at: Vec<&str> = document["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["looked_at"].as_str().unwrap())
        .collect();
    assert_eq!(
        looked_at,
        ["here", "noded-proxy", "files", "unseen", "offline"]
    );
    assert_eq!(
        document["nodes"][2]["could_not_look_at"][0],
        "the running proxy"
    );
}

#[test]
fn metrics_have_a_series_for_each_node_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.prom");
    metrics::write(&path, &mixed()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    for line in [
        "noded_proxy_verify_cluster_findings{id=\"ssh_dsa\"} 2",
        "noded_proxy_verify_cluster_findings{id=\"ssh_key_twice\"} 1",
        "noded_proxy_verify_cluster_findings{id=\"server_pem\"} 0",
        "noded_proxy_verify_cluster_node_errors{node=\"n3\"} 1",
        "noded_proxy_verify_cluster_node_warnings{node=\"n1\"} 0",
        "noded_proxy_verify_cluster_node_seen{node=\"n3\"} 1",
        "noded_proxy_verify_cluster_node_seen{node=\"n4\"} 0",
        "noded_proxy_verify_cluster_severity{severity=\"warning\"} 3",
        "noded_proxy_verify_cluster_timestamp_seconds 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    assert_eq!(text.matches("{node=").count(), 15, "{text}");
    assert_told(&text, "`--cluster`");
    // Both files may lie in one directory of the collector.
    assert!(!text.contains("noded_proxy_verify_findings"), "{text}");
}
