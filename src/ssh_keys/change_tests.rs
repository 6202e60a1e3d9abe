//! A removal on a recorded tree: done, kept, undone, and undone when a step of it fails.

use super::*;
use crate::ssh_keys::lines::tests::{A, B, of};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// Two files of authorized keys; the second is a link to another directory.
struct Scene {
    dir: tempfile::TempDir,
    tree: Tree,
    kept: Kept,
    sight: Sight,
}

const FILES: [&str; 2] = ["/root/.ssh/authorized_keys", "/root/.ssh/authorized_keys2"];
const REAL: [&str; 2] = ["root/.ssh/authorized_keys", "etc/keys/root"];

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["root/.ssh", "etc/keys", "var/lib"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for folder in ["root/.ssh", "etc/keys"] {
            fs::set_permissions(dir.path().join(folder), PermissionsExt::from_mode(0o700)).unwrap();
        }
        symlink("/etc/keys/root", dir.path().join(&FILES[1][1..])).unwrap();
        for path in REAL {
            let path = dir.path().join(path);
            fs::write(&path, format!("# keys\n{A} root@old\n{B} root@n1\n")).unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap();
        }
        let tree = Tree::recorded(dir.path()).unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        Self {
            dir,
            tree,
            kept,
            sight: Sight::default(),
        }
    }

    fn node(&self) -> Node<'_> {
        Node {
            tree: &self.tree,
            files: FILES.map(PathBuf::from).into(),
            directory: "/root/.ssh".into(),
            sight: &self.sight,
            kept: &self.kept,
            now: 1_000,
        }
    }

    fn contents(&self) -> [String; 2] {
        REAL.map(|path| fs::read_to_string(self.dir.path().join(path)).unwrap())
    }

    fn remove(&self, id: u64) -> Result<usize, String> {
        self.node().change(&change(id), || Ok(()))
    }
}

fn change(id: u64) -> Change {
    Change {
        id,
        keys: [of(A)].into(),
        add: Vec::new(),
        pairs: None,
        must_stay: of(B),
    }
}

fn without_a() -> [String; 2] {
    [0; 2].map(|_| format!("# keys\n{B} root@n1\n"))
}

#[test]
fn what_is_kept_stays_and_what_is_not_is_undone() {
    let scene = Scene::new();
    let before = scene.contents();
    assert_eq!(scene.remove(1), Ok(2));
    assert_eq!(scene.contents(), without_a());
    assert!(scene.node().keep(2).is_err(), "of another change");
    assert!(scene.node().waits(1) && !scene.node().waits(2));
    assert_eq!(scene.node().undo(Some(2)), Ok(false));
    assert_eq!(scene.node().undo(Some(1)), Ok(true));
    assert_eq!(scene.contents(), before);
    let late = scene.node().keep(1).unwrap_err();
    assert!(late.contains("too late"), "{late}");

    assert_eq!(scene.remove(3), Ok(2));
    scene.node().keep(3).unwrap();
    assert!(!scene.node().waits(3));
    assert_eq!(scene.node().undo(None), Ok(false));
    assert_eq!(scene.contents(), without_a());
    assert_eq!(scene.remove(4), Ok(0), "nothing is left to do");
    for path in REAL {
        let found = fs::metadata(scene.dir.path().join(path)).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640);
    }
    assert!(scene.dir.path().join(&FILES[1][1..]).is_symlink());
}

#[test]
fn each_step_that_fails_leaves_all_as_it_was() {
    let fails = |_: &Path, _: &[u8], _: &[u8]| Err("full".to_owned());
    for good in 0..2 {
        let scene = Scene::new();
        let (before, node) = (scene.contents(), scene.node());
        let mut calls = 0;
        let mut write = |path: &Path, was: &[u8], to: &[u8]| {
            calls += 1;
            match calls > good {
                true => fails(path, was, to),
                false => place::write(&scene.tree, path, was, to),
            }
        };
        let why = node
            .change_by(&change(1), || Ok(()), &mut write, &mut |_, _, _, _| Ok(()))
            .unwrap_err();
        assert_eq!(why, "full; all is as it was");
        assert_eq!(scene.contents(), before, "after {good} good steps");
        assert_eq!(node.undo(None), Ok(false));
    }
    let scene = Scene::new();
    let before = scene.contents();
    let why = scene
        .node()
        .change(&change(1), || Err("no guard".into()))
        .unwrap_err();
    assert_eq!(
        (&*why, scene.contents()),
        ("no guard; all is as it was", before)
    );
}

#[test]
fn nothing_is_begun_where_the_masters_key_would_not_open_the_door() {
    for (content, must_stay) in [
        (format!("{A} a\n"), B),
        (format!("{A}\nfrom=\"h\" {B}\n"), B),
        (format!("{A}\n{B}\n"), A),
    ] {
        let scene = Scene::new();
        for path in REAL {
            fs::write(scene.dir.path().join(path), &content).unwrap();
        }
        let asked = Change {
            must_stay: of(must_stay),
            ..change(1)
        };
        let why = scene
            .node()
            .change(&asked, || panic!("not that far"))
            .unwrap_err();
        assert!(why.contains("would not be authorized"), "{why}");
        assert_eq!(scene.contents(), [content.clone(), content]);
    }
}

#[test]
fn what_others_write_meanwhile_outlives_an_undo() {
    let scene = Scene::new();
    scene.remove(1).unwrap();
    let path = scene.dir.path().join(REAL[0]);
    let theirs = format!("# keys\n{B} root@n1\n{B} theirs\n");
    fs::write(&path, &theirs).unwrap();
    assert_eq!(scene.node().undo(Some(1)), Ok(true));
    assert_eq!(scene.contents()[0], format!("{theirs}{A} root@old\n"));
}

#[test]
fn a_change_that_nobody_could_prove_counts_when_somebody_asks_for_the_next() {
    let scene = Scene::new();
    scene.remove(1).unwrap(); // and the node was restarted
    assert_eq!(scene.remove(2), Ok(0));
    scene.node().undo(None).unwrap();
    assert_eq!(scene.contents(), without_a());
}
