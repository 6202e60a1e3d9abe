//! `noded-proxy install --cluster` and `uninstall --cluster`: the order, where they stop and how they go
//! on. The nodes' own `install`, `check` and `status` are stand-ins; `install.rs` asks the real ones.

use std::fs;

use crate::cluster::{Cluster, executable};

/// A node's program: what it was told is its state. `broken` and the like are files of the node.
const NODE: &str = r#"#!/bin/bash
case $1 in
  status) [[ -e $NODE/mode ]] && echo "{\"mode\": \"$(cat "$NODE/mode")\"}"; exit;;
  install)
    [[ ! -e $NODE/broken ]] || { echo "noded-proxy: install: it is broken. All is back as it was" >&2; exit 1; }
    [[ ! -e $NODE/endless ]] || yes
    if [[ -e $NODE/slow ]]; then
      for _ in {1..1200}; do [[ ! -e $NODES/n4/mode ]] || break; sleep 0.05; done
      [[ -e $NODES/n4/mode ]] || exit 1
    fi
    while [[ $1 != --mode ]]; do shift; done
    echo "$2" > "$NODE/mode"; echo "ok    $2"; sed -i 's/^#candidate_certs/candidate_certs/' "$NODE/config.toml";;
  uninstall)
    [[ ! -e $NODE/broken ]] || { echo "noded-proxy: uninstall: it is broken. All is back as it was" >&2; exit 1; }
    [[ ! -e $NODE/mode ]] || rm "$NODE/mode"; echo "ok    back";;
  check) [[ ! -e $NODE/unwell ]] || { echo "error unwell"; exit 1; };;
  certs) [[ ! -e $NODE/refuses ]] || { echo "it takes none"; exit 1; }; exec PROGRAM "$@" --config "$NODE/config.toml";;
  *) exec PROGRAM "$@" --config "$NODE/config.toml";;
esac
"#;

fn cluster() -> Cluster {
    let cluster = Cluster::new().answering();
    for node in [&*cluster.master, "n2", "n3"] {
        let text = NODE.replace("PROGRAM", env!("CARGO_BIN_EXE_noded-proxy"));
        executable(&cluster.path(node).join("bin/noded-proxy"), &text);
        // `install` sets it.
        let config = cluster.path(node).join("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, text.replace("candidate_certs", "#candidate_certs")).unwrap();
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
fn it_is_shown_and_then_done_with_enforce_at_once_and_the_master_last_of_the_candidates() {
    let cluster = cluster();
    let (status, said) = roll_out(&cluster, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("skip  n4: offline, left out\n"), "{said}");
    assert_eq!(said.matches("would ").count(), 4, "{said}");
    assert_eq!(modes(&cluster), "- - - -");

    let (status, said) = roll_out(&cluster, &["--apply", "--wait"]);
    assert_eq!(status, 0, "{said}");
    let install =
        |node: &str| format!("{node}: noded-proxy install --apply --mode enforce --hooks");
    let nodes = ["n2", "MASTER", "n3"];
    let certificates = "all nodes: noded-proxy certs distribute".into();
    let expected = [&nodes.map(install)[..], &[certificates]];
    assert_eq!(begun(&said), expected.concat(), "{said}");
    assert!(said.contains("      n3: ok    enforce\n"), "{said}");
    assert!(said.contains("ok    n3: 2 certificates: 2 new"), "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce -");
    assert!(!said.contains("audit"), "{said}");

    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("audit"), "{said}");
}

#[test]
fn audit_mode_is_a_place_to_stay_and_which_nodes_are_in_it_is_said() {
    let cluster = cluster();
    let (status, said) = roll_out(&cluster, &["--apply", "--mode", "audit"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(modes(&cluster), "audit audit audit -");
    for word in [
        "done: n2 (audit), MASTER (audit), n3 (audit), certificates",
        "note  in audit mode, so that the certificate of any node commands them: n2, n3, MASTER. \
         `noded-proxy install --cluster --apply` ends it\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
    assert_eq!(modes(&cluster), "enforce enforce enforce -");
}

#[test]
fn it_stops_at_the_first_candidate_that_is_not_right_and_goes_on_from_there() {
    for (fault, why) in [
        ("broken", "exit status 1"),
        ("unwell", "`noded-proxy check --quiet 2>&1`: exit status 1"),
    ] {
        let cluster = cluster();
        fs::write(cluster.path("n2").join(fault), "").unwrap();
        let (status, said) = roll_out(&cluster, &["--apply"]);
        assert_eq!(status, 1, "{said}");
        for word in [
            "noded-proxy: stopped at n2: ",
            why,
            "noded-proxy: nothing is done yet\n",
            "noded-proxy: not begun: MASTER (enforce), n3 (enforce), certificates\n",
            "it goes on from there",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("begin n3"), "{said}");
        fs::remove_file(cluster.path("n2").join(fault)).unwrap();
        assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
        assert_eq!(modes(&cluster), "enforce enforce enforce -");
    }
}

#[test]
fn a_normal_node_that_does_harm_holds_up_nobody_and_leaves_nobody_in_audit_mode() {
    for (fault, why) in [
        ("broken", "exit status 1"),
        ("unwell", "`noded-proxy check --quiet 2>&1`: exit status 1"),
        ("endless", "it says more than 1.0 MiB"),
    ] {
        let cluster = cluster();
        fs::write(cluster.path("n3").join(fault), "").unwrap();
        let (status, said) = roll_out(&cluster, &["--apply"]);
        assert_eq!(status, 1, "{said}");
        for word in [
            "noded-proxy: failed on n3: ",
            why,
            "It held up no other node",
            "noded-proxy: done: n2 (enforce), MASTER (enforce)",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("audit"), "{said}");
        let modes = modes(&cluster);
        assert!(
            modes.starts_with("enforce ") && modes.ends_with(" enforce -"),
            "{modes}"
        );
    }
}

/// A node's own `install` is content: from there its proxy is reached.
#[test]
fn a_node_that_the_master_does_not_get_through_to_is_put_back_and_a_candidate_stops_it() {
    let cluster = cluster();
    cluster.has_address("n2", "127.0.0.9");
    let (status, said) = roll_out(&cluster, &["--apply", "--wait"]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "noded-proxy: stopped at n2: the master does not get through: RPC `version` at 127.0.0.9:",
        "Connection refused",
        ". The node has noded alone, without the proxy\n",
        "      n2: ok    back\n",
        "noded-proxy: nothing is done yet\n",
        "noded-proxy: not begun: MASTER (enforce), n3 (enforce), certificates\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(
        cluster
            .calls()
            .contains("n2 noded-proxy uninstall --apply --now 2>&1\n")
    );
    assert_eq!(modes(&cluster), "- - - -");

    // A normal node is put back, too, and holds up nobody. It goes back to what it had.
    cluster.has_address("n3", "127.0.0.9");
    fs::write(cluster.path("n3/mode"), "audit").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("failed on n3: the master does not get through"),
        "{said}"
    );
    assert!(
        said.contains("n2: from here: RPC `version` at 127.0.0.1:"),
        "{said}"
    );
    assert!(
        said.contains(". The node is in audit mode again; hooks and socket unit stay. It held up"),
        "{said}"
    );
    assert_eq!(modes(&cluster), "enforce audit enforce -");

    // Who enforces already goes on doing so: nothing was changed there.
    fs::write(cluster.path("n3/mode"), "enforce").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(". It is left as it is"), "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce -");
    cluster.has_address("", "");
    assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
}

fn roll_back(cluster: &Cluster, options: &[&str]) -> (i32, String) {
    let words = [&["uninstall", "--cluster"], options].concat();
    cluster.run(&cluster.master, &words)
}

#[test]
fn the_way_back_is_shown_and_then_done_on_all_nodes() {
    let cluster = cluster();
    assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
    let (status, said) = roll_back(&cluster, &[]);
    assert_eq!(status, 0, "{said}");
    let would = ["n2", "MASTER", "n3"]
        .map(|node| format!("would {node}: noded-proxy uninstall --apply\n"))
        .concat();
    let rest = "note  nothing was done: --apply does it\n";
    assert!(said.ends_with(&format!("{would}{rest}")), "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce -");

    let (status, said) = roll_back(&cluster, &["--apply", "--wait"]);
    assert_eq!(status, 0, "{said}");
    let begun_ =
        ["n2", "MASTER", "n3"].map(|node| format!("{node}: noded-proxy uninstall --apply --wait"));
    assert_eq!(begun(&said), begun_, "{said}");
    let done = "ok    done: n2 (uninstall), MASTER (uninstall), n3 (uninstall)\n";
    assert!(said.ends_with(done), "{said}");
    assert_eq!(modes(&cluster), "- - - -");
    let other = cluster.path("n2/ganeti/ssconf_master_node");
    fs::write(other, "n3\n").unwrap();
    let (status, said) = cluster.run("n2", &["uninstall", "--cluster", "--apply"]);
    let told = "noded-proxy: this node is not the master: run it on n3\n";
    assert_eq!((status, &*said), (1, told));
}

#[test]
fn the_way_back_stops_at_a_candidate_and_goes_on_without_a_normal_node() {
    let cluster = cluster();
    assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
    fs::write(cluster.path("n2/broken"), "").unwrap();
    let (status, said) = roll_back(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "noded-proxy: stopped at n2: `noded-proxy uninstall --apply 2>&1`: exit status 1\n",
        "noded-proxy: nothing is done yet\n",
        "noded-proxy: not begun: MASTER (uninstall), n3 (uninstall)\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(modes(&cluster), "enforce enforce enforce -");

    fs::rename(cluster.path("n2/broken"), cluster.path("n3/broken")).unwrap();
    let (status, said) = roll_back(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    let told = "noded-proxy: failed on n3: `noded-proxy uninstall --apply 2>&1`: exit status 1. It";
    assert!(said.contains(told), "{said}");
    assert_eq!(modes(&cluster), "- enforce - -");

    // What is out of reach is named; what has no program has nothing to be taken away.
    fs::rename(cluster.path("n3/broken"), cluster.path("n3/down")).unwrap();
    fs::remove_file(cluster.path("n2/bin/noded-proxy")).unwrap();
    let (status, said) = roll_back(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "skip  n2: noded-proxy is not there\n",
        "skip  n4: offline, left out\n",
        "noded-proxy: n3: not reached by ssh",
        "noded-proxy: done: MASTER (uninstall)\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    fs::remove_file(cluster.path("n3/down")).unwrap();
    assert_eq!(roll_back(&cluster, &["--apply"]).0, 0);
    assert_eq!(modes(&cluster), "- - - -");
}

/// Normal nodes come together: n3 is not done before n4 is.
#[test]
fn a_normal_node_that_sleeps_holds_up_no_other_one() {
    let cluster = cluster();
    let text = fs::read_to_string(cluster.path("n3/bin/noded-proxy")).unwrap();
    executable(&cluster.path("n4/bin/noded-proxy"), &text);
    let map = "ganeti/ssconf_master_candidates_certs";
    fs::copy(cluster.path("n3").join(map), cluster.path("n4").join(map)).unwrap();
    let offline = cluster
        .path(&cluster.master)
        .join("ganeti/ssconf_offline_nodes");
    fs::write(offline, "").unwrap();
    fs::write(cluster.path("n3/slow"), "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce enforce");
    let at = |line: &str| said.find(line).unwrap_or_else(|| panic!("{line}: {said}"));
    assert!(at("MASTER: ok    enforce") < at("begin n3"), "{said}");
    assert!(at("n3: ok    enforce") < at("begin all nodes"), "{said}");
}

/// Whoever keeps the last phase from its end keeps the others in audit mode, if they are in it.
#[test]
fn a_node_that_takes_no_certificates_finds_the_others_enforcing() {
    let cluster = cluster();
    fs::write(cluster.path("n3/refuses"), "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    assert_eq!(modes(&cluster), "enforce enforce enforce -");
    for word in [
        "FAIL  n3: it takes none\n",
        "ok    MASTER: 2 certificates: 2 new",
        "failed on certificates: not every node has the candidates' certificates",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let cluster = self::cluster();
    fs::write(cluster.path("n3/refuses"), "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply", "--mode", "audit"]);
    assert_eq!(status, 1, "{said}");
    let told = "noded-proxy: in audit mode, so that the certificate of any node commands them: \
                n2, n3, MASTER. `noded-proxy install --cluster --apply` ends it\n";
    assert!(said.contains(told), "{said}");
}

#[test]
fn an_audit_run_that_stops_names_the_nodes_that_it_leaves_in_audit_mode() {
    let cluster = cluster();
    let broken = cluster.path(&cluster.master).join("broken");
    fs::write(&broken, "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply", "--mode", "audit"]);
    assert_eq!(status, 1, "{said}");
    let told = "commands them: n2, MASTER (perhaps). `noded-proxy install --cluster --apply` \
                ends it\n";
    assert!(said.contains(told), "{said}");
    fs::remove_file(broken).unwrap();
    assert_eq!(roll_out(&cluster, &["--apply"]).0, 0);
    assert_eq!(modes(&cluster), "enforce enforce enforce -");
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
fn a_candidate_without_the_program_or_out_of_reach_is_named_before_anything_is_begun() {
    let cluster = cluster();
    fs::remove_file(cluster.path("n2/bin/noded-proxy")).unwrap();
    fs::write(cluster.path("n3/down"), "").unwrap();
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    for word in [
        "noded-proxy: n3: not reached by ssh",
        "noded-proxy: n2: noded-proxy is not there: `gnt-cluster copyfile FILE.deb`",
        "noded-proxy: nothing was done: it begins only when each candidate can follow\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("begin n"), "{said}");
    assert_eq!(modes(&cluster), "- - - -");
}

#[test]
fn a_normal_node_out_of_reach_is_named_and_left_out() {
    let cluster = cluster();
    fs::write(cluster.path("n3/down"), "").unwrap();
    let (status, said) = roll_out(&cluster, &[]);
    assert!(
        status == 0 && said.contains("note  n3: not reached by ssh"),
        "{said}"
    );
    let (status, said) = roll_out(&cluster, &["--apply"]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("noded-proxy: n3: not reached by ssh"),
        "{said}"
    );
    assert_eq!(modes(&cluster), "enforce - enforce -");
}
