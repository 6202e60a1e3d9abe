//! `noded-proxy verify --cluster` on recorded trees of all nodes, with a stand-in for ssh that runs
//! each command on the tree of the node that is named. What it starts is the real program, or the
//! real script where the node has none.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::tree::{NODES, Recorded, cluster};
use super::{CANDIDATE, MASTER, NORMAL};
use crate::cluster::executable;

const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// `root@NODE COMMAND` are the last two arguments. A node's file `instead` is run in the place of its
/// program, `down` in that of ssh.
const SSH: &str = r#"#!/bin/bash
name=${@: -2:1}; name=${name#root@}; command=${@: -1}; node=$NODES/$name
echo "$name $command" >> "$NODES/calls"
[[ ! -e $node/down ]] || exec bash "$node/down" "$@"
case $command in
  "noded-proxy verify --observed")
    [[ ! -e $node/instead ]] || exec bash "$node/instead"
    exec PROGRAM verify --observed --root "$node/tree" ;;
  "timeout "*"sh -s -- '' "*) exec bash -c "${command/-- \'\'/-- \'$node/tree\'}" ;;
  *) echo "unexpected: $command" >&2; exit 99 ;;
esac
"#;

/// A good cluster's three nodes, and a way to them.
pub(super) struct Scene {
    dir: TempDir,
    pub(super) nodes: [Recorded; 3],
}

impl Scene {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nodes = [MASTER, CANDIDATE, NORMAL].map(Recorded::of);
        way(&dir);
        for (at, node) in nodes.iter().enumerate() {
            node.data("ssconf_cluster_name", "cluster.example.com\n", 0o444);
            let folder = dir.path().join(NODES[at]);
            fs::create_dir(&folder).unwrap();
            std::os::unix::fs::symlink(node.path(""), folder.join("tree")).unwrap();
        }
        Self { dir, nodes }
    }

    /// What a node does instead of what it should.
    pub(super) fn does(&self, at: usize, file: &str, text: &str) {
        fs::write(self.dir.path().join(NODES[at]).join(file), text).unwrap();
    }

    pub(super) fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = program(&self.dir, &self.nodes[MASTER], arguments);
        command.output().unwrap()
    }

    pub(super) fn document(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.verify(&[&["--json"], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let document = serde_json::from_str(&text);
        let document = document.unwrap_or_else(|_| panic!("{text}: {:?}", output.stderr));
        (output.status.code().unwrap(), document)
    }

    /// Status, and `NODE ID` for each finding; `-` is the cluster.
    #[track_caller]
    fn assert_finds(&self, arguments: &[&str], expected: &[&str]) -> Value {
        let (status, document) = self.document(arguments);
        assert_eq!(found(&document), expected, "{document:#}");
        assert_eq!(status, i32::from(!expected.is_empty()));
        document
    }
}

/// Makes the stand-in for ssh.
fn way(dir: &TempDir) {
    fs::create_dir(dir.path().join("bin")).unwrap();
    let ssh = SSH.replace("PROGRAM", PROGRAM);
    executable(&dir.path().join("bin/ssh"), &ssh);
}

/// The master's look, with the stand-ins of this directory.
pub(super) fn program(dir: &TempDir, master: &Recorded, arguments: &[&str]) -> Command {
    let path = dir.path().join("bin").display().to_string();
    let mut command = Command::new(PROGRAM);
    command
        .args(["verify", "--cluster", "--root"])
        .arg(master.path(""))
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("NODES", dir.path());
    command
}

pub(super) fn found(document: &Value) -> Vec<String> {
    let ids = |name: &str, findings: &Value| -> Vec<String> {
        let findings = findings.as_array().unwrap().iter();
        findings
            .map(|found| format!("{name} {}", found["id"].as_str().unwrap()))
            .collect()
    };
    let mut all = ids("-", &document["findings"]);
    for node in document["nodes"].as_array().unwrap() {
        let name = node["node"].as_str().unwrap().split('.').next().unwrap();
        all.extend(ids(name, &node["findings"]));
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_good_cluster_has_no_findings_and_each_node_is_asked_once() {
    let scene = Scene::new();
    scene.assert_finds(&[], &[]);
    let calls = fs::read_to_string(scene.dir.path().join("calls")).unwrap();
    let mut calls: Vec<&str> = calls.lines().collect();
    calls.sort_unstable();
    let expected =
        [CANDIDATE, NORMAL].map(|at| format!("{} noded-proxy verify --observed", NODES[at]));
    assert_eq!(calls, expected);
    let text = String::from_utf8(scene.verify(&[]).stdout).unwrap();
    assert!(text.starts_with("3 nodes: nothing found\n"), "{text}");
}

#[test]
fn what_is_wrong_on_a_node_is_found_from_the_master() {
    let (scene, keys) = (Scene::new(), cluster());
    let normal = &scene.nodes[NORMAL];
    normal.authorize(&keys.stranger.line("intruder"));
    normal.data("client.pem", &keys.clients[CANDIDATE].pem, 0o440);
    normal.ssh("copy", &keys.keys[CANDIDATE].private, 0o600);
    let expected = [
        "n3 client_name",
        "n3 client_stolen",
        "n3 ssh_foreign_key",
        "n3 ssh_stranger",
    ];
    scene.assert_finds(&[], &expected);
    let text = String::from_utf8(scene.verify(&[]).stdout).unwrap();
    for line in [
        "node           errors warnings looked at\nn3.example.com 3      1        by its noded-proxy\n",
        "2 nodes: nothing found\n",
        "error    client_stolen: /var/lib/ganeti/client.pem: digest ",
        " is that of n2.example.com (uuid-n2)\n         on:  n3.example.com\n",
        "cluster.example.com: 3 nodes, 3 seen: 3 errors, 1 warning\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn what_only_the_cluster_sees() {
    let (scene, keys) = (Scene::new(), cluster());
    // An old node: its lists and map are those of before n2 became a candidate.
    let normal = &scene.nodes[NORMAL];
    normal.data("ssconf_master_candidates", "n1.example.com\n", 0o444);
    normal.map(&[MASTER]);
    // A deploy key that no node owns, on two nodes.
    for node in [CANDIDATE, NORMAL] {
        scene.nodes[node].ssh("deploy", &keys.stranger.private, 0o600);
    }
    let expected = ["- ssh_key_twice", "n3 map_differs", "n3 ssconf_differs"];
    scene.assert_finds(&[], &expected);
}

#[test]
fn nodes_without_the_program_or_with_another_one_are_read_over_ssh() {
    let (scene, keys) = (Scene::new(), cluster());
    let normal = &scene.nodes[NORMAL];
    normal.authorize(&keys.stranger.line("intruder"));
    normal.data("client.pem", &keys.clients[CANDIDATE].pem, 0o440);
    normal.ssh("copy", &keys.keys[CANDIDATE].private, 0o600);
    let of_files = [
        "n3 client_name",
        "n3 client_stolen",
        "n3 ssh_foreign_key",
        "n3 ssh_stranger",
    ];
    let old = "echo \"noded-proxy: unexpected argument '--observed' found\" >&2; exit 64";
    let newer = "echo 'noded-proxy-observed 2 {}'";
    for (does, trouble, why) in [
        ("exit 127", "n3 node_without_proxy", "finds no such program"),
        (old, "n3 node_mute", "unexpected argument '--observed'"),
        (
            newer,
            "n3 node_mute",
            "it answers in format 2, this one reads 1",
        ),
    ] {
        scene.does(NORMAL, "instead", does);
        let mut expected = [&of_files[..], &[trouble]].concat();
        expected.sort_unstable();
        let (_, document) = scene.document(&[]);
        let mut found = found(&document);
        found.retain(|found| found != "n3 file_owner"); // whoever runs the test may not be root
        assert_eq!(found, expected, "{document:#}");
        let node = &document["nodes"][2];
        assert_eq!(
            (&node["looked_at"], &node["node"]),
            (&"files".into(), &NODES[NORMAL].into())
        );
        assert_eq!(node["could_not_look_at"][0], "the running proxy");
        assert!(document.to_string().contains(why), "{document:#}");
    }
    let left = fs::read_dir(normal.path("")).unwrap().count();
    assert_eq!(
        left,
        fs::read_dir(scene.nodes[CANDIDATE].path(""))
            .unwrap()
            .count()
    );
}

#[test]
fn a_node_that_does_not_answer_as_it_should_is_a_finding_on_it_alone() {
    let scene = Scene::new();
    let unreachable = "echo 'ssh: connect to host n3 port 22: No route to host' >&2; exit 255";
    for (file, does, id, why) in [
        ("down", unreachable, "node_unreachable", "No route to host"),
        (
            "down",
            "exec yes",
            "node_answer",
            "it says more than 4.0 MiB",
        ),
        ("down", "yes >&2", "node_answer", "it says more than"),
        (
            "instead",
            "head -c 100000 /dev/urandom",
            "node_answer",
            "it is no text",
        ),
        (
            "instead",
            "echo hello",
            "node_answer",
            "does not begin as it should",
        ),
        (
            "instead",
            "echo 'noded-proxy-observed 1 {\"observed\": 7}'",
            "node_answer",
            "invalid type",
        ),
        (
            "instead",
            "printf 'noded-proxy-observed 1 {\"observed\": {\"host\": \"\\033[2J'",
            "node_answer",
            "control character",
        ),
        (
            "instead",
            "exec PROGRAM --version",
            "node_answer",
            "does not begin as it should",
        ),
    ] {
        scene.does(NORMAL, file, &does.replace("PROGRAM", PROGRAM));
        let document = scene.assert_finds(&[], &[&format!("n3 {id}")]);
        let what = document["nodes"][2]["findings"][0]["what"]
            .as_str()
            .unwrap();
        assert!(what.contains(why), "{does}: {what}");
        assert!(what.chars().all(|c| (' '..='~').contains(&c)), "{what}");
        assert_eq!(document["nodes"][2]["looked_at"], "unseen");
        fs::remove_file(scene.dir.path().join(NODES[NORMAL]).join(file)).unwrap();
    }
    // One that has the script answer so, too.
    scene.does(NORMAL, "instead", "exit 127");
    let script = "[[ $command == noded-proxy* ]] && exit 127; echo hello";
    let ssh = scene.dir.path().join("bin/ssh");
    let text = fs::read_to_string(&ssh).unwrap();
    executable(
        &ssh,
        &text.replace(
            "[[ ! -e $node/down ]]",
            &format!("[[ $name != n3* ]] || {{ {script}; exit; }}\n[[ ! -e $node/down ]]"),
        ),
    );
    scene.assert_finds(&[], &["n3 node_answer", "n3 node_without_proxy"]);
}

#[test]
fn a_node_that_hangs_holds_up_nobody_for_ever() {
    let scene = Scene::new();
    scene.does(NORMAL, "down", "exec sleep 1000");
    // The other node gets the same time, and may need it on a busy machine.
    let (_, document) = scene.document(&["--timeout", "10s"]);
    let node = &document["nodes"][2];
    assert_eq!(
        node["findings"][0]["id"], "node_unreachable",
        "{document:#}"
    );
    let what = node["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("no end after 10s"), "{what}");
}

#[test]
fn a_liar_brings_findings_about_itself_alone() {
    let (scene, keys) = (Scene::new(), cluster());
    let stranger = keys.stranger.line("intruder");
    scene.nodes[CANDIDATE].authorize(&stranger);
    // It has the words of n2, and 4000 authorized keys more.
    let many: String = (0..4000)
        .map(|at| keys.old.line(&format!("k{at}")))
        .collect();
    scene.nodes[CANDIDATE].ssh("authorized_keys2", many.as_bytes(), 0o600);
    let said = Command::new(PROGRAM)
        .args(["verify", "--observed", "--root"])
        .arg(scene.nodes[CANDIDATE].path(""))
        .output()
        .unwrap();
    fs::write(scene.dir.path().join("said"), said.stdout).unwrap();
    scene.nodes[CANDIDATE].remove("root/.ssh/authorized_keys2");
    scene.does(NORMAL, "instead", "cat \"$NODES/said\"");
    let (_, document) = scene.document(&[]);
    let found = found(&document);
    let of_others: Vec<&String> = found.iter().filter(|id| !id.starts_with("n3 ")).collect();
    assert_eq!(of_others, ["n2 ssh_stranger"], "{document:#}");
    for id in [
        "n3 client_stolen",
        "n3 ssh_foreign_key",
        "n3 configuration_here",
        "n3 not_a_node",
    ] {
        assert!(found.iter().any(|found| found == id), "{id}: {found:#?}");
    }
    let node = &document["nodes"][2];
    assert_eq!(node["findings"].as_array().unwrap().len(), 300);
    assert!(
        node["left_out"].as_u64().unwrap() > 3000,
        "{}",
        node["left_out"]
    );
}

#[test]
fn lines_for_programs_metrics_and_offline_nodes() {
    let (scene, keys) = (Scene::new(), cluster());
    let line = |expected: i32| {
        let output = scene.verify(&["--nagios"]);
        let line = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{line}");
        assert!(line.is_ascii() && line.lines().count() == 1, "{line}");
        line
    };
    assert!(line(0).starts_with("VERIFY OK - cluster.example.com: 3 nodes, 3 seen: "));
    scene.nodes[NORMAL].authorize(&keys.stranger.line("intruder"));
    assert!(line(1).starts_with("VERIFY WARNING - "));
    scene.does(NORMAL, "down", "exit 255");
    let told = line(2);
    assert!(
        told.contains("3 nodes, 2 seen: 1 error, 0 warnings: node_unreachable on n3"),
        "{told}"
    );
    let file = scene.dir.path().join("cluster.prom");
    scene.verify(&["--metrics", file.to_str().unwrap()]);
    let metrics = fs::read_to_string(file).unwrap();
    let series = "noded_proxy_verify_cluster_node_seen{node=\"n3.example.com\"} 0\n";
    assert!(metrics.contains(series), "{metrics}");
    scene.nodes[MASTER].data("ssconf_offline_nodes", "n3.example.com\n", 0o444);
    let output = scene.verify(&["--nagios"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.contains("3 nodes, 2 seen: ") && !line.contains("unreachable"),
        "{line}"
    );
}

#[test]
fn where_it_cannot_look_it_says_so() {
    let scene = Scene::new();
    let refused = |expected: &str| {
        let output = scene.verify(&[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{expected}: {told}");
        let output = scene.verify(&["--nagios"]);
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.starts_with("VERIFY UNKNOWN - "), "{line}");
        assert_eq!(output.status.code(), Some(3));
    };
    let master = &scene.nodes[MASTER];
    master.data("ssconf_master_node", "n2.example.com\n", 0o444);
    refused("this node is not the master: run it on n2.example.com");
    master.data("ssconf_master_node", "n1.example.com\n", 0o444);
    master.data("config.data", "{", 0o640);
    refused("config.data: EOF");
    master.remove("var/lib/ganeti/config.data");
    refused("there is no config.data");
    master.remove("var/lib/ganeti/ssconf_cluster_name");
    refused("ssconf_cluster_name: absent or empty");
}
