//! What breaks off: the master's program is killed, a node's too, a disk is full. Nobody is locked out,
//! and the next run goes on.

use std::fs;

use super::{BACKUP, DAY, KEYS, Scene, command};
use crate::verify::tree::{NODES, cluster};

/// The command of a node, and then this; `$status` is its exit status.
const THEN: &str = r#"[[ $command == *" look" ]] || { bash -c "$command --config /dev/null --root $(<"$SCENE/$name.root")"
status=$?; echo deed >> "$SCENE/deeds"
[[ -z $KILL || $(wc -l < "$SCENE/deeds") != "$KILL" ]] || kill -9 $PPID
exit $status; }"#;

fn always(scene: &Scene, script: &str) {
    for name in NODES {
        fs::write(scene.dir.path().join(format!("{name}.instead")), script).unwrap();
    }
}

/// The master's key is authorized on each node.
fn is_open(scene: &Scene) -> bool {
    (0..3).all(|at| scene.keys(at).contains(&cluster().keys[0].public))
}

#[test]
fn whenever_the_master_is_killed_the_next_run_goes_on() {
    let backup = format!("root/.ssh/{BACKUP}");
    let mut at = 0;
    loop {
        at += 1;
        let scene = Scene::new();
        scene.nodes[1].authorize(&scene.old_line());
        scene.nodes[1].age(&backup, 40 * DAY);
        always(&scene, THEN);
        let mut run = command(scene.dir.path(), &scene.nodes[0], &["apply"]);
        let ended = run.env("KILL", at.to_string()).output().unwrap();
        assert!(is_open(&scene), "killed after deed {at}");
        let (status, text) = scene.apply(&["--hook"]);
        assert_eq!(status, 0, "killed after deed {at}: {text}");
        assert!(
            (0..3).all(|at| !scene.is_old_authorized(at)),
            "{at}: {text}"
        );
        assert!(
            is_open(&scene) && !scene.nodes[1].path(&backup).exists(),
            "{at}: {text}"
        );
        // Nothing waits any more for its node to undo it after a while.
        let pending = "var/lib/noded-proxy-ssh-keys/pending";
        let waits = |at: &usize| scene.nodes[*at].path(pending).exists();
        assert_eq!((0..3).find(waits), None, "killed after deed {at}: {text}");
        match ended.status.code() {
            None => {}
            Some(code) => {
                assert_eq!(
                    (code, at),
                    (0, 8),
                    "three changes, each proven, and a backup"
                );
                return;
            }
        }
    }
}

#[test]
fn where_nothing_can_be_written_nothing_is_changed_and_nothing_is_left_lying_about() {
    // As with a full disk; and killed by the kernel at the first byte.
    for ignored in ["trap '' XFSZ; ", ""] {
        let scene = Scene::new();
        let before = scene.keys(2);
        let full = format!("[[ $command != *' change '* ]] || {{ {ignored}ulimit -c 0 -f 0; }}");
        fs::write(scene.dir.path().join("n3.example.com.instead"), full).unwrap();
        let (status, text) = scene.apply(&[]);
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("FAIL  n3.example.com: "), "{text}");
        assert!(
            scene.keys(2) == before && !scene.is_old_authorized(0),
            "{text}"
        );
        fs::remove_file(scene.dir.path().join("n3.example.com.instead")).unwrap();
        let (status, text) = scene.apply(&[]);
        assert_eq!(status, 0, "{text}");
        assert!(!scene.is_old_authorized(2), "{text}");
        let folder = scene.nodes[2].path(KEYS);
        let names = fs::read_dir(folder.parent().unwrap()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
        assert_eq!(left, [""; 0], "{text}");
    }
}

/// What the last whole run went by is the same now, and yet not all is done.
#[test]
fn after_a_run_that_was_killed_a_hook_finds_something_to_do() {
    let scene = Scene::new();
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!(status, 0, "{text}");
    scene.nodes[0].authorize(&scene.old_line());
    scene.nodes[2].authorize(&scene.old_line());
    always(&scene, THEN);
    let mut run = command(scene.dir.path(), &scene.nodes[0], &["apply"]);
    let ended = run.env("KILL", "2").output().unwrap();
    assert_eq!(ended.status.code(), None);
    assert!(scene.is_old_authorized(0) || scene.is_old_authorized(2));
    let (status, text) = scene.apply(&["--hook"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        !scene.is_old_authorized(0) && !scene.is_old_authorized(2),
        "{text}"
    );
}
