//! `noded-proxy install --cluster`: the order, where it stops and how it goes on. The nodes' own
//! `install`, `check` and `status` are stand-ins; `install.rs` asks the real ones.

use std::fs;

use crate::cluster::{Cluster, executable};

/// A node's program: what it was told is its state. `broken` and `unwell` are files of the node.
const NODE: &str = r#"#!/bin/bash
case $1 in
  status) [[ -e $NODE/mode ]] && echo "{\"mode\": \"$(cat "$NODE/mode")\"}"; exit;;
  install)
    [[ ! -e $NODE/broken ]] || { echo "noded-proxy: install: it is broken. All is back as it was" >&2; exit 1; }
    while [[ $1 != --mode ]]; do shift; done
    echo "$2" > "$NODE/mode"; echo "ok    $2";;
  check) [[ ! -e $NODE/unwell ]] || { echo "error unwell"; exit 1; };;
  *) exec PROGRAM "$@" --config "$NODE/config.toml";;
esac
"#;

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    for node in [&*cluster.master, "n2", "n3"] {
        let text = NODE.replace("PROGRAM", env!("CARGO_BIN_EXE_noded-proxy"));
        executable(&cluster.path(node).join("bin/noded-proxy"), &text);
    }
    cluster
}

fn roll_out(cluster: &Cluster, options: &[&str]) -> (i32, String) {
    let words = [&["install", "--cluster"], options].concat();
    cluster.run(&cluster.master, &words)
}

fn modes(cluster: &Cluster) -> String {
    let mode = |node: &str| fs::read_to_string(cluster.path(node).join("mode"));
    let modes = ["n2", "n3", &cluster.master, "n4"].map(mode);
    let modes = modes.map(|mode| mode.unwrap_or_else(|_| "-".into()).trim().to_owned());
    modes.join(" ")
}

/// What was begun, in its order.
fn begun(said: &str) -> Vec<&str> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("begin "));
    lines
        .map(|line| {
            let end = line.find(" --candidate-certs").unwrap_or(line.len());
            &line[..end]
        })
        .collect()
}

#[test]
fn it_is_shown_and_then_done_in_audit_mode_first_and_the_master_last() {
    let cluster = cluster();
    let (status, said) = roll_out(&cluster, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("skip  n4: offline, left out\n"), "{said}");
    assert_eq!(said.matches("would ").count(), 7, "{said}");
    assert_eq!(modes(&cluster), "- - - -");

    let (status, said) = roll_out(&cluster, &["--apply", "--wait"]);
    assert_eq!(status, 0, "{said}");
    let install =
        |node: &str, how: &str| format!("{node}: noded-proxy install --apply --mode {how}");
    let nodes = ["n2", "n3", "MASTER"];
    let expected = [
        &nodes.map(|node| install(node, "audit"))[..],
        &["all nodes: noded-proxy certs distribute".into()],
        &nodes.map(|node| install(node, "enforce --hooks")),
    ];
    assert_eq!(begun(&said), expected.concat(), "{said}");
    assert!(said.contains("      n3: ok    enforce\n"), "{said}");
    assert!(said.contains("ok    n3: 2 certificates: 2 new"), "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce -");

    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("--mode audit"), "{said}");
}

#[test]
fn audit_mode_alone_is_a_place_to_stay() {
    let cluster = cluster();
    let (status, said) = roll_out(&cluster, &["--apply", "--mode", "audit"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(modes(&cluster), "audit audit audit -");
    assert!(
        said.contains("done: n2 (audit), n3 (audit), MASTER (audit), certificates"),
        "{said}"
    );
}

#[test]
fn it_stops_at_the_first_node_that_is_not_right_and_goes_on_from_there() {
    for (fault, why) in [
        ("broken", "exit status 1"),
        ("unwell", "`noded-proxy check --quiet 2>&1`: exit status 1"),
    ] {
        let cluster = cluster();
        assert_eq!(roll_out(&cluster, &["--apply", "--mode", "audit"]).0, 0);
        fs::write(cluster.path("n3").join(fault), "").unwrap();
        let (status, said) = roll_out(&cluster, &["--apply"]);
        assert_eq!(status, 1, "{said}");
        for word in [
            "noded-proxy: stopped at n3 (audit): ",
            why,
            "noded-proxy: done: n2 (audit)\n",
            "noded-proxy: not begun: MASTER (audit), certificates, n2 (enforce), ",
            "it goes on from there",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(modes(&cluster), "audit audit audit -");
        fs::remove_file(cluster.path("n3").join(fault)).unwrap();
        assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
        assert_eq!(modes(&cluster), "enforce enforce enforce -");
    }
}

#[test]
fn a_node_that_enforces_never_goes_back_to_audit_mode() {
    let cluster = cluster();
    fs::write(cluster.path("n2/mode"), "enforce").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply", "--mode", "audit"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(modes(&cluster), "enforce audit audit -");
}

#[test]
fn a_node_without_the_program_or_out_of_reach_is_named_before_anything_is_begun() {
    let cluster = cluster();
    fs::remove_file(cluster.path("n2/bin/noded-proxy")).unwrap();
    fs::write(cluster.path("n3/down"), "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "noded-proxy: n3: not reached by ssh",
        "noded-proxy: n2: noded-proxy is not there: `gnt-cluster copyfile FILE.deb`",
        "noded-proxy: nothing was done\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("begin"), "{said}");
    assert_eq!(modes(&cluster), "- - - -");
}
