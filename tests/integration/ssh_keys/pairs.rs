//! Clusters whose keys Ganeti does not manage, on recorded trees: one pair that candidates share, and
//! pairs of their own. The stand-in for ssh lets in only whom `authorized_keys` lets in, with the key
//! that the caller's tree has, so whoever is locked out fails here as he would there.

mod hostile;
mod scene;

use std::path::Path;

use super::said;
use crate::cluster::executable;
use crate::support::wait_until;
use crate::verify::tree::SshKey;
use scene::{LIST, SSH, Scene};

#[test]
fn a_plan_says_where_the_shared_pair_goes_and_changes_nothing() {
    let scene = Scene::new();
    let (status, text) = scene.on(0, &["plan"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("n3.example.com\n") && text.contains("delete   id_ecdsa"),
        "{text}"
    );
    assert!(text.contains("share one pair"), "{text}");
    let (_, text) = scene.on(0, &["plan", "--own-pairs"]);
    assert_eq!(
        text.matches("make     a pair of its own").count(),
        2,
        "{text}"
    );
    assert_eq!(scene.holders(), [0, 1, 2]);
    assert!(!scene.nodes[2].path("var/lib/noded-proxy-ssh-keys").exists());
    let (status, text) = scene.on(1, &["plan"]);
    assert!(status == 1 && text.contains("not the master"), "{text}");
}

#[test]
fn the_shared_pair_follows_the_roles_of_nodes() {
    let scene = Scene::new();
    let text = scene.apply(&[]);
    assert!(
        text.contains("ok    n3.example.com: private key deleted"),
        "{text}"
    );
    scene.is_whole(&[0, 1], false);
    assert!(scene.apply(&["--hook"]).contains("nothing has changed"));

    scene.roles(0, &[0, 2], &[]);
    let text = scene.apply(&["--hook"]);
    assert!(
        text.contains("ok    n3.example.com: the shared pair brought"),
        "{text}"
    );
    scene.is_whole(&[0, 2], false);
    let public = scene.nodes[2].text("root/.ssh/id_ecdsa.pub");
    assert!(public.starts_with(&scene.shared.public), "{public}");

    // The other candidate becomes master; it goes on by what it was told, though nobody else has
    // the pair by then.
    scene.roles(2, &[2], &[]);
    let (status, text) = scene.on(2, &["apply"]);
    assert_eq!(status, 0, "{text}");
    scene.is_whole(&[2], false);
    scene.roles(2, &[1, 2], &[]);
    let (status, text) = scene.on(2, &["apply"]);
    assert_eq!(status, 0, "{text}");
    scene.is_whole(&[1, 2], false);
    let (status, text) = scene.on(0, &["apply", "--hook"]);
    assert!(status == 0 && text.contains("not the master"), "{text}");
}

#[test]
fn a_node_that_was_away_loses_the_pair_when_it_is_back() {
    let scene = Scene::new();
    scene.apply(&[]);
    scene.roles(0, &[0], &[1]);
    scene.mark(1, "down", true);
    let text = scene.apply(&["--hook"]);
    assert!(text.contains("offline: done when it is back"), "{text}");
    assert!(scene.has_pair(1));
    // Back, but out of reach: each hook tries again.
    scene.roles(0, &[0], &[]);
    let (status, text) = scene.on(0, &["apply", "--hook"]);
    assert!(
        status == 1 && text.contains("left out ssh: Permission denied"),
        "{text}"
    );
    scene.mark(1, "down", false);
    scene.apply(&["--hook"]);
    scene.is_whole(&[0], false);
}

#[test]
fn each_candidate_gets_a_pair_of_its_own_and_it_is_kept_up() {
    let scene = Scene::new();
    let text = scene.apply(&["--own-pairs"]);
    assert!(
        text.contains("ok    n1.example.com: changed to its own pair"),
        "{text}"
    );
    scene.is_whole(&[0, 1], true);
    assert!(
        !scene
            .lines(2)
            .iter()
            .any(|line| line.starts_with(&scene.shared.public))
    );
    assert!(scene.apply(&[]).contains("nothing to do"));

    // Demoted, without the option; then promoted: it gets another pair.
    let former = scene.own(1);
    scene.roles(0, &[0], &[]);
    scene.apply(&["--hook"]);
    scene.is_whole(&[0], true);
    scene.roles(0, &[0, 1], &[]);
    scene.apply(&["--hook"]);
    scene.is_whole(&[0, 1], true);
    assert_ne!(scene.own(1), former);

    // It takes over while the old master is off, and demotes that when it is back.
    scene.roles(1, &[1, 2], &[0]);
    scene.mark(0, "down", true);
    let (status, text) = scene.on(1, &["apply"]);
    assert_eq!(status, 0, "{text}");
    assert!(scene.gets_in(2, 1) && !scene.gets_in(0, 2), "{text}");
    scene.roles(1, &[1, 2], &[]);
    scene.mark(0, "down", false);
    let (status, text) = scene.on(1, &["apply", "--hook"]);
    assert_eq!(status, 0, "{text}");
    scene.is_whole(&[1, 2], true);
}

#[test]
fn nobody_changes_to_its_own_pair_while_a_node_is_away() {
    let scene = Scene::new();
    scene.apply(&[]);
    scene.roles(0, &[0, 1], &[2]);
    scene.mark(2, "down", true);
    let text = scene.apply(&["--own-pairs"]);
    assert!(
        text.contains("ok    n2.example.com: a pair of its own made"),
        "{text}"
    );
    for at in [0, 1] {
        assert_eq!(scene.own(at), scene.shared.public);
    }
    let (_, text) = scene.on(0, &["plan"]);
    assert!(text.contains("until n3.example.com is seen"), "{text}");
    assert!(text.contains("nothing to do until then"), "{text}");
    // Back: what was begun goes on without the option.
    scene.roles(0, &[0, 1], &[]);
    scene.mark(2, "down", false);
    scene.apply(&["--hook"]);
    scene.is_whole(&[0, 1], true);
}

#[test]
fn a_candidate_whose_own_pair_fails_has_the_shared_one_again() {
    let scene = Scene::new();
    scene.apply(&[]);
    // The pair that waits gets in, and what ssh takes by itself does not: as with a wrong ssh_config.
    let ssh = SSH.replace(
        "root=$(<",
        "[[ -n ${identity##*id_ecdsa} || $command != true ]] || denied\nroot=$(<",
    );
    executable(&scene.dir.path().join("bin/ssh"), &ssh);
    let (status, text) = scene.on(0, &["apply", "--own-pairs"]);
    assert_eq!(status, 1, "{text}");
    let why = "FAIL  n2.example.com: it does not get in to n2.example.com";
    assert!(
        text.contains(why) || text.contains("does not get in to n"),
        "{text}"
    );
    assert!(text.contains("it has its former pair again"), "{text}");
    for at in [0, 1] {
        assert_eq!(scene.own(at), scene.shared.public);
    }
    executable(&scene.dir.path().join("bin/ssh"), SSH);
    scene.apply(&[]);
    scene.is_whole(&[0, 1], true);
}

#[test]
fn a_node_that_is_not_reached_afterwards_puts_its_pair_back() {
    let scene = Scene::new();
    let deny = SSH.replace("[[ ! -e $SCENE/$name.down", "[[ $command != *' keep '*");
    executable(&scene.dir.path().join("bin/ssh"), &deny);
    let (status, text) = scene.on(0, &["apply", "--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("no new login after the change: ssh: Permission"),
        "{text}"
    );
    wait_until("n3 undoes it", || scene.has_pair(2));
    assert_eq!(scene.own(2), scene.shared.public);
    executable(&scene.dir.path().join("bin/ssh"), SSH);
    scene.apply(&[]);
    scene.is_whole(&[0, 1], false);
}

#[test]
fn whenever_the_master_is_killed_nobody_is_locked_out_and_the_next_run_goes_on() {
    let mut at = 0;
    loop {
        at += 1;
        let scene = Scene::new();
        let mut command = scene.command(0, &["apply", "--own-pairs"]);
        let ended = command.env("KILL", at.to_string()).output().unwrap();
        for from in [0, 1] {
            for to in 0..3 {
                assert!(
                    scene.gets_in(from, to),
                    "killed after deed {at}: {from} to {to}"
                );
            }
        }
        let is_noted = Path::new(&scene.nodes[0].path(LIST)).exists();
        scene.apply(if is_noted { &[] } else { &["--own-pairs"] });
        scene.is_whole(&[0, 1], true);
        if ended.status.code() == Some(0) {
            break;
        }
        assert_eq!(ended.status.code(), None, "{:?}", said(&ended).1);
    }
    assert!(at > 20, "only {at} deeds");
}

#[test]
fn what_is_not_ours_is_refused() {
    let scene = Scene::new();
    // Each node has a pair that somebody else has given it.
    let other = SshKey::make(&["-t", "ecdsa"]);
    for at in [1, 2] {
        scene.nodes[at].ssh("id_ecdsa", &other.private, 0o600);
    }
    let (status, text) = scene.on(0, &["apply"]);
    assert!(
        status == 1 && text.contains("--shared-pair says so"),
        "{text}"
    );
    let (status, text) = scene.on(0, &["apply", "--shared-pair"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("n2.example.com\n  left out its id_ecdsa is another pair"),
        "{text}"
    );
    assert_eq!(scene.own(1), other.public);
    // A node's own ssconf counts more than the master's word.
    let scene = Scene::new();
    let names = "n1.example.com\nn3.example.com\n";
    scene.nodes[2].data("ssconf_master_candidates", names, 0o444);
    let (status, text) = scene.on(0, &["apply"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("by this node's ssconf it is the master or a candidate"),
        "{text}"
    );
    assert!(scene.has_pair(2));
    // Where Ganeti manages the keys, nothing of this is done.
    let managed = super::Scene::new();
    let (status, text) = managed.apply(&["--own-pairs"]);
    assert!(
        status == 1 && text.contains("Ganeti manages the SSH keys"),
        "{text}"
    );
}
