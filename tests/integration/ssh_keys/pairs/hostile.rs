//! A normal node in hostile hands where Ganeti does not manage the keys: what it refuses, or only says
//! that it does, keeps no private key on another node.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::scene::Scene;
use crate::verify::tree::{NODES, SshKey};

/// n1 is the master, n2 and n3 are normal nodes; n2 has its turn first, and does so.
fn scene(script: &str) -> Scene {
    let scene = Scene::new();
    scene.roles(0, &[0], &[]);
    let path = scene.dir.path().join(format!("{}.instead", NODES[1]));
    fs::write(path, script).unwrap();
    scene
}

#[test]
fn a_node_that_fails_keeps_no_private_key_elsewhere() {
    for (script, why) in [
        ("[[ $command != *' change '* ]] || exit 1", "exit status 1"),
        (
            "[[ $command != *' change '* ]] || exec yes",
            "it says more than",
        ),
        ("[[ $command != *' keep '* ]] || exit 255", "no new login"),
    ] {
        let scene = scene(script);
        let (status, text) = scene.on(0, &["apply", "--undo-after", "1"]);
        assert_eq!(status, 1, "{text}");
        assert!(
            text.contains("FAIL  n2.example.com: ") && text.contains(why),
            "{text}"
        );
        assert!(scene.has_pair(0) && !scene.has_pair(2), "{text}");
        assert!(
            text.ends_with("1 node not done: n2.example.com\n"),
            "{text}"
        );
        assert_eq!(text.matches("FAIL").count(), 1, "{text}");
    }
}

#[test]
fn a_node_that_says_that_it_is_done_and_is_not_loses_its_turn() {
    let lie = "[[ $command != *' change '* && $command != *' keep '* ]] || { echo done; exit; }";
    let scene = scene(lie);
    let (status, text) = scene.on(0, &["apply"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("it says each time that it is done, and is not"),
        "{text}"
    );
    assert!(scene.has_pair(0) && !scene.has_pair(2), "{text}");
    assert!(
        text.ends_with("1 node not done: n2.example.com\n"),
        "{text}"
    );
}

#[test]
fn a_node_that_says_again_and_again_that_it_is_not_settled_loses_its_turn() {
    let lie = "[[ $command != *' look' ]] || { bash -c \"$command --config /dev/null --root $root\" | \
               sed 's|\"unsettled\":false|\"unsettled\":true|'; exit; }";
    let scene = scene(lie);
    let (status, text) = scene.on(0, &["apply"]);
    assert!(scene.has_pair(0) && !scene.has_pair(2), "{status}: {text}");
}

#[test]
fn a_node_that_shuts_candidates_out_keeps_no_private_key_elsewhere() {
    let scene = Scene::new();
    // n3 lets the master in and n2 not, so n2 keeps the shared pair, and all others their way in.
    let shut =
        "[[ $command != true || $CALLER != *\"$(<\"$SCENE/n2.example.com.root\")\"* ]] || denied";
    fs::write(scene.dir.path().join("n3.example.com.instead"), shut).unwrap();
    let (status, text) = scene.on(0, &["apply", "--own-pairs"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n2.example.com: noded-proxy: it does not get in to n3"),
        "{text}"
    );
    // It was asked before the change and not only behind it.
    assert!(!text.contains("has its former pair again"), "{text}");
    for at in [0, 1] {
        assert_eq!(scene.own(at), scene.shared.public, "{text}");
    }
    assert!(!scene.has_pair(2), "what must go goes: {text}");
    for to in [0, 1, 2] {
        assert!(scene.gets_in(0, to) && scene.gets_in(1, to), "{text}");
    }
}

/// The private half that opens all nodes goes to none that lost its role since it was planned.
#[test]
fn who_is_no_candidate_any_more_gets_no_private_key() {
    let scene = Scene::new();
    scene.apply(&[]);
    scene.roles(0, &[0, 1, 2], &[]);
    let list = scene.nodes[0].path("var/lib/ganeti/ssconf_master_candidates");
    let names = "printf 'n1.example.com\\nn2.example.com\\n'";
    let meanwhile = format!(
        "[[ $command != *' look' ]] || {{ rm -f {0}; {names} > {0}; }}",
        list.display()
    );
    let path = scene.dir.path().join(format!("{}.instead", NODES[2]));
    fs::write(path, meanwhile).unwrap();
    let (status, text) = scene.on(0, &["apply"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n3.example.com: it is no candidate any more"),
        "{text}"
    );
    assert_eq!(scene.holders(), [0, 1], "{text}");
}

/// Two halves that are no pair would lock the other candidate out.
#[test]
fn a_public_half_of_another_key_is_not_brought() {
    let scene = Scene::new();
    scene.apply(&[]);
    scene.roles(0, &[0, 1, 2], &[]);
    let other = SshKey::make(&["-t", "ecdsa"]);
    let line = other.line("root@n1.example.com");
    scene.nodes[0].ssh("id_ecdsa.pub", line.as_bytes(), 0o644);
    let (status, text) = scene.on(0, &["apply"]);
    assert_eq!(status, 1, "{text}");
    assert_eq!(scene.holders(), [0, 1], "{text}");
    assert!(
        text.contains("id_ecdsa.pub is that of another key"),
        "{text}"
    );
}

/// A run takes a while, and each round goes by the roles of its own time.
#[test]
fn who_is_demoted_while_a_run_lasts_loses_its_private_key_in_it() {
    let scene = Scene::new();
    scene.roles(0, &[0], &[]);
    let data = "var/lib/ganeti";
    let mut meanwhile = String::from("[[ $command != *' keep '* ]] || {\n");
    for (at, node) in scene.nodes.iter().enumerate() {
        let later = scene.dir.path().join(format!("later-{at}"));
        let copy = |from: &Path, to: &Path| format!("cp -a {} {}", from.display(), to.display());
        let saved = Command::new("sh")
            .args(["-c", &copy(&node.path(data), &later)])
            .status();
        assert!(saved.unwrap().success());
        meanwhile += &copy(&later.join("."), &node.path(data));
        meanwhile.push('\n');
    }
    scene.roles(0, &[0, 1], &[]);
    let path = scene.dir.path().join(format!("{}.instead", NODES[2]));
    fs::write(path, meanwhile + "}").unwrap();
    let text = scene.apply(&[]);
    assert_eq!(scene.holders(), [0], "{text}");
}

/// While one candidate cannot change, the shared pair stays the way in of all.
#[test]
fn where_one_candidate_cannot_change_to_its_own_pair_no_other_does() {
    let scene = Scene::new();
    scene.roles(0, &[0, 1, 2], &[]);
    let shut =
        "[[ $command != true || $CALLER != *\"$(<\"$SCENE/n2.example.com.root\")\"* ]] || denied";
    fs::write(scene.dir.path().join("n1.example.com.instead"), shut).unwrap();
    let (status, text) = scene.on(0, &["apply", "--own-pairs"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("FAIL  n2.example.com: "), "{text}");
    for at in [0, 1, 2] {
        assert_eq!(scene.own(at), scene.shared.public, "{at}: {text}");
    }
}

/// Each of the rounds looks at all nodes: one that answers nobody would cost its minute in each.
#[test]
fn who_was_not_seen_is_not_asked_again_in_a_run() {
    let scene = scene("[[ $command != *' look' ]] || { echo look >> \"$SCENE/looks\"; exit 255; }");
    let (status, text) = scene.on(0, &["apply"]);
    assert_eq!(status, 1, "{text}");
    assert!(!scene.has_pair(2), "there were rounds: {text}");
    let looks = fs::read_to_string(scene.dir.path().join("looks")).unwrap();
    assert_eq!(looks, "look\n", "{text}");
}

#[test]
fn who_had_no_turn_any_more_when_a_run_was_ended_is_named_as_not_done() {
    let scene = Scene::new();
    let shut = "[[ $command != *' keep '* ]] || exit 255";
    fs::write(scene.dir.path().join("n2.example.com.instead"), shut).unwrap();
    let (status, text) = scene.on(0, &["apply", "--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("nothing more is done"), "{text}");
    assert!(scene.has_pair(2), "{text}");
    let (_, left) = text.split_once("not done: ").unwrap();
    assert!(
        left.contains("n2.example.com") && left.contains("n3.example.com"),
        "{text}"
    );
}

#[test]
fn a_hook_has_nothing_to_do_where_nothing_has_changed() {
    let scene = Scene::new();
    assert!(!scene.apply(&["--hook"]).contains("nothing to do"));
    let told = scene.apply(&["--hook"]);
    let expected = "nothing to do: nothing has changed since the last time\n";
    assert_eq!(told, expected);
    // One that left a node looks again.
    scene.roles(0, &[0], &[]);
    scene.mark(2, "down", true);
    for _ in 0..2 {
        let (status, text) = scene.on(0, &["apply", "--hook"]);
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("not done: n3.example.com"), "{text}");
    }
}
