//! A normal node in hostile hands: its answers are a script's. It takes away nobody's keys, keeps
//! nobody's, and stops no other node from being done.

use std::fs;

use rustix::fs::{FlockOperation, flock};

use super::{BACKUP, DAY, Scene, command, said};
use crate::support::wait_until;
use crate::verify::tree::{NODES, SshKey, cluster};

/// n2 is a normal node here, and has its turn before n3.
fn normal() -> Scene {
    let scene = Scene::new();
    for at in [0, 1, 2] {
        let names = "n1.example.com\n";
        scene.nodes[at].data("ssconf_master_candidates", names, 0o444);
    }
    scene.nodes[0].configured(&[0], &[], true);
    scene.nodes[1].authorize(&scene.old_line());
    scene
}

impl Scene {
    /// What a node does with a command, in the words of the stand-in for ssh.
    fn does(&self, at: usize, script: &str) {
        let path = self.dir.path().join(format!("{}.instead", NODES[at]));
        fs::write(path, script).unwrap();
    }
}

#[test]
fn a_normal_node_that_fails_keeps_no_key_authorized_behind_it() {
    for (script, why) in [
        ("[[ $command != *' change '* ]] || exit 1", "exit status 1"),
        (
            "[[ $command != *' change '* ]] || { printf '\\033[2J\\rok    n3.example.com: x\\n' >&2; exit 1; }",
            "\\u{1b}[2J ok n3.example.com: x",
        ),
        (
            "[[ $command != *' change '* ]] || exec yes",
            "it says more than",
        ),
        ("[[ $command != *' change '* ]] || exit 255", "ssh: "),
        (
            "[[ $command != *' keep '* ]] || exit 255",
            "no new login after the change: ssh: ",
        ),
    ] {
        let scene = normal();
        scene.does(1, script);
        let (status, text) = scene.apply(&["--undo-after", "1"]);
        assert_eq!(status, 1, "{text}");
        assert!(
            !scene.is_old_authorized(0) && !scene.is_old_authorized(2),
            "{text}"
        );
        let fails = text.lines().find(|line| line.starts_with("FAIL  "));
        let fails = fails.unwrap_or_else(|| panic!("{text}"));
        assert!(
            fails.starts_with("FAIL  n2.example.com: ") && fails.contains(why),
            "{fails}"
        );
        assert!(
            text.ends_with("1 node not done: n2.example.com\n"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
        if why.contains("no new login") {
            continue; // when the master comes in again depends on when n2 undoes it
        }
        // It is not forgotten.
        let (status, text) = scene.apply(&["--hook", "--undo-after", "1"]);
        assert!(
            status == 1 && text.contains("FAIL  n2.example.com"),
            "{text}"
        );
    }
}

#[test]
fn the_doors_of_those_who_are_trusted_are_closed_first() {
    let scene = Scene::new();
    scene.nodes[1].authorize(&scene.old_line());
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    let calls = scene.calls();
    let turns: Vec<&str> = calls
        .lines()
        .filter(|call| call.contains(" change "))
        .collect();
    let turns: Vec<&str> = turns
        .iter()
        .filter_map(|call| call.split('.').next())
        .collect();
    assert_eq!(turns, ["n2", "n1", "n3"]);
}

#[test]
fn a_candidate_that_the_master_cannot_enter_any_more_ends_the_run() {
    let scene = Scene::new();
    scene.nodes[1].authorize(&scene.old_line());
    let before = [0, 1, 2].map(|at| scene.keys(at));
    scene.mark(1, "shut");
    let (status, text) = scene.apply(&["--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n2.example.com: no new login"),
        "{text}"
    );
    assert!(text.contains("nothing more is done"), "{text}");
    let left = "3 nodes not done: n1.example.com, n2.example.com, n3.example.com\n";
    assert!(text.ends_with(left), "{text}");
    wait_until("n2 undoes it", || {
        [0, 1, 2].map(|at| scene.keys(at)) == before
    });
    // One that only says no has changed nothing.
    scene.unmark(1, "shut");
    scene.does(1, "[[ $command != *' change '* ]] || exit 1");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(
        !scene.is_old_authorized(0) && !scene.is_old_authorized(2),
        "{text}"
    );
}

#[test]
fn a_backup_stays_while_a_node_that_failed_still_has_the_line() {
    let scene = Scene::new();
    let backup = format!("root/.ssh/{BACKUP}");
    scene.nodes[1].age(&backup, 40 * DAY);
    scene.does(2, "[[ $command != *' change '* ]] || exit 1");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(scene.nodes[1].path(&backup).exists(), "{text}");
    fs::remove_file(scene.dir.path().join("n3.example.com.instead")).unwrap();
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.nodes[1].path(&backup).exists(), "{text}");
}

#[test]
fn a_node_that_goes_offline_before_its_turn_is_left() {
    let scene = normal();
    let path = scene.nodes[0].path("var/lib/ganeti/ssconf_offline_nodes");
    let during = format!("rm -f {0}; echo n2.example.com > {0}", path.display());
    fs::write(scene.dir.path().join("during"), during).unwrap();
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("FAIL  n2.example.com: it is offline by now"),
        "{text}"
    );
    assert!(
        scene.is_old_authorized(1) && !scene.is_old_authorized(2),
        "{text}"
    );
    assert!(
        !scene
            .calls()
            .contains("n2.example.com noded-proxy ssh-keys node change")
    );
}

/// The answer to `look` with one more file.
fn with_file(file: &str) -> String {
    format!(
        "[[ $command != *' look' ]] || {{ bash -c \"$command --config /dev/null --root \
         $(<\"$SCENE/$name.root\")\" | sed 's|\"files\":\\[|&{file},|'; exit; }}"
    )
}

#[test]
fn a_node_that_says_it_uses_a_key_keeps_it_for_nobody() {
    let old = &cluster().old.fingerprint;
    let file = format!(
        r#"{{"name":"id_mine","private":true,"key":"{old}","modified":0,"of_root":true,"signature":null}}"#
    );
    let scene = Scene::new();
    scene.does(2, &with_file(&file));
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.is_old_authorized(0), "n2 has signed with it: {text}");
    assert!(
        text.contains("n3.example.com uses it (id_mine)"),
        "on itself: {text}"
    );

    // The same where the comment alone says whose the key was.
    let scene = Scene::new();
    scene.nodes[1].remove(&format!("root/.ssh/{BACKUP}"));
    scene.does(2, &with_file(&file));
    let (_, text) = scene.apply(&["--by-comment"]);
    assert!(!scene.is_old_authorized(0), "{text}");
    // One that has it, and signs, is believed.
    let scene = Scene::new();
    scene.nodes[1].remove(&format!("root/.ssh/{BACKUP}"));
    scene.nodes[2].ssh("id_mine", &cluster().old.private, 0o600);
    let (_, text) = scene.apply(&["--by-comment"]);
    assert!(scene.is_old_authorized(0), "{text}");
    assert!(text.contains("n3.example.com uses it (id_mine)"), "{text}");
}

#[test]
fn a_node_with_thousands_of_lines_fills_no_journal() {
    let scene = Scene::new();
    let line = format!(
        r#"{{"path":"/x","number":1,"key":"{}","comment":"{}","options":false}}"#,
        cluster().stranger.fingerprint,
        "c".repeat(600)
    );
    let lines = format!("{{ printf '{line},'; yes '{line},' | head -8999 | tr -d '\\n'; }}");
    let script = format!(
        "[[ $command != *' look' ]] || {{ printf '{{\"version\":2,\"lines\":['; {lines}; \
         printf '%s' '{line}],\"files\":[],\"faults\":[],\"unknown\":0,\"unsettled\":false}}'; exit; }}"
    );
    scene.does(2, &script);
    let (_, text) = scene.on(0, &["plan"]);
    assert!(text.contains("n3.example.com\n"), "{text}");
    assert!(text.len() < 100_000, "{}", text.len());
    assert!(
        text.contains("keep     8801 more\n"),
        "{}",
        &text[text.len() - 300..]
    );
}

#[test]
fn of_many_hooks_one_waits_and_the_others_go() {
    let scene = Scene::new();
    let kept = scene.nodes[0].path("var/lib/noded-proxy-ssh-keys");
    assert_eq!(scene.apply(&["--hook"]).0, 0);
    let lock = |name: &str| {
        let file = fs::File::open(kept.join(name)).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file)
    };
    let running = lock("run").unwrap();
    let start = || {
        let mut hook = command(scene.dir.path(), &scene.nodes[0], &["apply", "--hook"]);
        hook.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let waiting = start();
    wait_until("one waits", || lock("waits").is_err());
    for _ in 0..3 {
        let mut next = start();
        wait_until("it goes", || next.try_wait().unwrap().is_some());
        let (status, text) = said(&next.wait_with_output().unwrap());
        assert!(status == 0 && text.contains("another run waits"), "{text}");
    }
    // What has changed meanwhile is seen by the one that waits.
    scene.nodes[2].authorize(&scene.old_line());
    scene.nodes[0].data("ssconf_offline_nodes", "\n", 0o444);
    drop(running);
    let (status, text) = said(&waiting.wait_with_output().unwrap());
    assert!(
        status == 0 && text.contains("ok    n3.example.com: 1 line"),
        "{text}"
    );
}

/// It has other things to show first, and perhaps it never undoes its change.
#[test]
fn on_a_node_that_failed_no_backup_is_deleted() {
    let scene = normal();
    let other = SshKey::make(&["-t", "ed25519"]);
    let backup = "id_rsa.backup-2026-10-01_11_07_33.gzh77dpl";
    scene.nodes[1].ssh(backup, &other.private, 0o600);
    let backup = format!("root/.ssh/{backup}");
    scene.nodes[1].age(&backup, 40 * DAY);
    scene.does(1, "[[ $command != *' change '* ]] || exit 1");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("FAIL  n2.example.com: "), "{text}");
    assert!(
        !scene
            .calls()
            .contains("n2.example.com noded-proxy ssh-keys node delete")
    );
    assert!(scene.nodes[1].path(&backup).exists(), "{text}");
    fs::remove_file(scene.dir.path().join("n2.example.com.instead")).unwrap();
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(!scene.nodes[1].path(&backup).exists(), "{text}");
}

#[test]
fn a_node_that_deletes_no_backup_is_named_as_not_done() {
    let scene = Scene::new();
    let backup = format!("root/.ssh/{BACKUP}");
    scene.nodes[1].age(&backup, 40 * DAY);
    scene.does(1, "[[ $command != *' delete' ]] || exit 1");
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.ends_with("1 node not done: n2.example.com\n"),
        "{text}"
    );
    assert!(!scene.is_old_authorized(0) && !scene.is_old_authorized(2));
}

#[test]
fn a_run_that_is_told_to_end_begins_no_further_node() {
    let scene = normal();
    scene.does(0, "[[ $command != *' change '* ]] || kill -TERM $PPID");
    let (status, text) = scene.apply(&["--undo-after", "1"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("FAIL  n1.example.com: interrupted"), "{text}");
    let calls = scene.calls();
    for name in [NODES[1], NODES[2]] {
        let change = format!("{name} noded-proxy ssh-keys node change");
        assert!(!calls.contains(&change), "{calls}");
        assert!(text.contains("not done: ") && text.contains(name), "{text}");
    }
    fs::remove_file(scene.dir.path().join("n1.example.com.instead")).unwrap();
    let (status, text) = scene.apply(&[]);
    assert_eq!(status, 0, "{text}");
    assert!((0..3).all(|at| !scene.is_old_authorized(at)), "{text}");
}
