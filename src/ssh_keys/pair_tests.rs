//! Changes of pairs on a recorded tree: brought, taken, replaced; kept, undone, and undone when any
//! step of it fails.

use super::*;
use crate::ssh_keys::lines::tests::{B, of};
use crate::ssh_keys::pair::Given;
use rules::ssh_keys::pairs::List;
use rules::ssh_keys::sight::KeyFile;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// A node with the shared pair under its own name, a copy of it elsewhere, and the key of somebody.
struct Scene {
    dir: tempfile::TempDir,
    tree: Tree,
    kept: Kept,
    sight: Sight,
}

fn key(letter: char) -> Fingerprint {
    let text = format!("SHA256:{}", letter.to_string().repeat(43));
    text.parse().unwrap()
}

fn file(name: &str, letter: char) -> KeyFile {
    KeyFile {
        name: name.into(),
        private: !name.contains(".pub"),
        key: key(letter),
        modified: 0,
        of_root: true,
        signature: None,
        proven: true,
    }
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["root/.ssh", "etc/keys", "var/lib"] {
            let folder = dir.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
        }
        let scene = Self {
            tree: Tree::recorded(dir.path()).unwrap(),
            kept: Kept::open(dir.path()).unwrap(),
            sight: Sight {
                files: vec![
                    file("id_rsa", 's'),
                    file("id_rsa.pub", 's'),
                    file("copy", 's'),
                    file("mine", 'm'),
                ],
                ..Sight::default()
            },
            dir,
        };
        for (name, text) in [
            ("authorized_keys", format!("{B} root@n1\n")),
            ("id_rsa", "shared".into()),
            ("id_rsa.pub", "shared half".into()),
            ("copy", "shared".into()),
            ("mine", "mine".into()),
        ] {
            scene.put(name, &text);
        }
        scene
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.dir.path().join("root/.ssh").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn node(&self) -> Node<'_> {
        Node {
            tree: &self.tree,
            files: vec!["/root/.ssh/authorized_keys".into()],
            directory: "/root/.ssh".into(),
            sight: &self.sight,
            kept: &self.kept,
            now: 1_000,
        }
    }

    /// All files of root's directory.
    fn files(&self) -> BTreeMap<String, String> {
        let names = fs::read_dir(self.dir.path().join("root/.ssh")).unwrap();
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), text)
        };
        names.map(read).collect()
    }

    /// Private halves that are kept for an undo.
    fn copies(&self) -> usize {
        let names = fs::read_dir(self.dir.path().join("var/lib/noded-proxy-ssh-keys")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("key-")).count()
    }
}

fn asked(id: u64, ask: impl FnOnce(&mut Pairs)) -> Change {
    let mut pairs = Pairs {
        list: List {
            shared: Some(key('s')),
            ..List::default()
        },
        place: "id_rsa".into(),
        take: [].into(),
        give: None,
        switch: false,
        unstage: false,
    };
    ask(&mut pairs);
    Change {
        id,
        keys: [].into(),
        add: vec![
            format!("{B} root@n1\n"),
            "ssh-rsa AAAA root@n2 noded-proxy\n".into(),
        ],
        pairs: Some(pairs),
        must_stay: of(B),
    }
}

fn given() -> Given {
    Given {
        private: "given".into(),
        public: "given half".into(),
    }
}

fn take(id: u64) -> Change {
    asked(id, |pairs| pairs.take = [key('s')].into())
}

fn names(files: &BTreeMap<String, String>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

#[test]
fn every_private_half_of_a_key_goes_and_no_other_and_none_stays_for_an_undo() {
    let scene = Scene::new();
    let before = scene.files();
    assert_eq!(scene.node().change(&take(1), || Ok(())), Ok(0));
    assert_eq!(names(&scene.files()), ["authorized_keys", "mine"]);
    let line = "ssh-rsa AAAA root@n2 noded-proxy";
    assert_eq!(scene.files()["authorized_keys"].matches(line).count(), 1);
    assert_eq!(scene.copies(), 3);
    assert!(Node::is_unsettled(&scene.kept).unwrap());
    assert_eq!(scene.node().undo(Some(1)), Ok(true));
    assert_eq!((scene.files(), scene.copies()), (before, 0));

    scene.node().change(&take(2), || Ok(())).unwrap();
    scene.node().keep(2).unwrap();
    assert_eq!(names(&scene.files()), ["authorized_keys", "mine"]);
    assert_eq!(scene.copies(), 0);
    assert!(!Node::is_unsettled(&scene.kept).unwrap());
}

#[test]
fn a_change_that_nobody_has_proven_is_undone_before_the_next() {
    let scene = Scene::new();
    let before = scene.files();
    scene.node().change(&take(1), || Ok(())).unwrap(); // and the master was killed
    let why = scene.node().change(&take(2), || Ok(())).unwrap_err();
    assert!(why.contains("was undone"), "{why}");
    assert_eq!(scene.files(), before);
    // Killed between the proof and the removal of the copies.
    scene.node().change(&take(3), || Ok(())).unwrap();
    scene.kept.remove("pending").unwrap();
    assert!(Node::is_unsettled(&scene.kept).unwrap());
    assert_eq!(scene.node().settle(), Ok(false));
    assert_eq!(scene.copies(), 0);
}

#[test]
fn a_pair_comes_where_none_is_and_replaces_no_other() {
    let scene = Scene::new();
    let give = |id, place: &str| {
        asked(id, |pairs| {
            pairs.give = Some(given());
            pairs.place = place.into();
        })
    };
    let why = scene
        .node()
        .change(&give(1, "id_rsa"), || Ok(()))
        .unwrap_err();
    assert!(why.contains("id_rsa: another pair"), "{why}");
    let why = scene
        .node()
        .change(&give(1, "../x"), || Ok(()))
        .unwrap_err();
    assert!(why.contains("no name of a pair"), "{why}");
    let before = scene.files();
    scene
        .node()
        .change(&give(1, "id_ecdsa"), || Ok(()))
        .unwrap();
    let files = scene.files();
    assert_eq!(
        (&*files["id_ecdsa"], &*files["id_ecdsa.pub"]),
        ("given", "given half")
    );
    let mode = |name: &str| {
        let path = scene.dir.path().join("root/.ssh").join(name);
        fs::metadata(path).unwrap().mode() & 0o7777
    };
    assert_eq!((mode("id_ecdsa"), mode("id_ecdsa.pub")), (0o600, 0o644));
    let pending = scene.kept.read("pending").unwrap().unwrap();
    assert!(!String::from_utf8(pending).unwrap().contains("given half"));
    scene.node().undo(None).unwrap();
    assert_eq!(scene.files(), before);
}

#[test]
fn a_pair_comes_and_goes_where_links_lead() {
    let scene = Scene::new();
    let inside = scene.dir.path().join("root/.ssh");
    let real = scene.dir.path().join("etc/keys/rsa");
    fs::rename(inside.join("id_rsa"), &real).unwrap();
    symlink("/etc/keys/rsa", inside.join("id_rsa")).unwrap();
    scene.node().change(&take(1), || Ok(())).unwrap();
    assert!(!real.exists() && inside.join("id_rsa").is_symlink());
    scene.node().keep(1).unwrap();
    let scene = Scene {
        sight: Sight::default(),
        ..scene
    };
    let give = asked(2, |pairs| pairs.give = Some(given()));
    scene.node().change(&give, || Ok(())).unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap(), "given");
    assert!(inside.join("id_rsa").is_symlink());
    scene.node().undo(None).unwrap();
    assert!(!real.exists() && inside.join("id_rsa").is_symlink());
}

/// A pair that waits, made with ssh-keygen.
fn stage(scene: &Scene) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "root@n2 noded-proxy",
            "-f",
        ])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    let pair = Given {
        private: fs::read_to_string(&path).unwrap(),
        public: fs::read_to_string(path.with_extension("pub")).unwrap(),
    };
    staged::write(&scene.kept, &pair).unwrap();
    pair
}

#[test]
fn the_pair_that_waits_takes_the_place_of_the_shared_one() {
    let scene = Scene::new();
    let before = scene.files();
    let switch = |id| asked(id, |pairs| pairs.switch = true);
    let why = scene.node().change(&switch(1), || Ok(())).unwrap_err();
    assert!(why.contains("no pair waits"), "{why}");
    let pair = stage(&scene);
    let is_staged = || staged::read(&scene.kept).unwrap().is_some();
    for undone in [true, false] {
        scene.node().change(&switch(2), || Ok(())).unwrap();
        let files = scene.files();
        assert_eq!(
            (&files["id_rsa"], &files["id_rsa.pub"]),
            (&pair.private, &pair.public)
        );
        assert_eq!(files["copy"], "shared", "ssh does not take it by itself");
        assert!(is_staged());
        match undone {
            true => {
                scene.node().undo(Some(2)).unwrap();
                assert!(scene.files() == before && is_staged());
            }
            false => {
                scene.node().keep(2).unwrap();
                assert!(scene.files() == files && !is_staged() && scene.copies() == 0);
            }
        }
    }
    assert!(
        staged::list(&scene.kept).unwrap().is_none(),
        "a list without a version"
    );
}

#[test]
fn each_step_that_fails_or_is_the_last_one_leaves_all_as_it_was() {
    for killed in [false, true] {
        for good in 0..9 {
            let scene = Scene::new();
            stage(&scene);
            let before = scene.files();
            let mut steps = 0;
            let mut step = || {
                steps += 1;
                match steps > good {
                    true => Err("full".to_owned()),
                    false => Ok(()),
                }
            };
            let switch = asked(1, |pairs| {
                pairs.switch = true;
                pairs.take.insert(key('s'));
            });
            let (tree, node) = (&scene.tree, scene.node());
            let steps = std::cell::RefCell::new(&mut step);
            let mut write = |path: &Path, was: &[u8], to: &[u8]| {
                steps.borrow_mut()()?;
                place::write(tree, path, was, to)
            };
            let mut put = |path: &Path, was: Option<&[u8]>, to: Option<&[u8]>, mode| {
                steps.borrow_mut()()?;
                if was.is_some() && path.ends_with("id_rsa") {
                    let public = scene.dir.path().join("root/.ssh/id_rsa.pub");
                    assert!(!public.exists(), "ssh would believe the wrong half");
                }
                place::put(tree, path, was, to, mode)
            };
            let done = node.change_by(&switch, || Ok(()), &mut write, &mut put);
            if good < 5 {
                assert_eq!(done.unwrap_err(), "full; all is as it was");
            } else if killed {
                assert_eq!(node.settle(), Ok(true)); // the next run comes
            } else {
                node.undo(None).unwrap();
            }
            assert_eq!(scene.files(), before, "after {good} good steps");
            assert_eq!(scene.copies(), 0);
        }
    }
}

#[test]
fn what_others_have_put_there_meanwhile_is_not_undone() {
    let scene = Scene::new();
    scene.node().change(&take(1), || Ok(())).unwrap();
    scene.put("id_rsa", "theirs");
    scene.node().undo(None).unwrap();
    let files = scene.files();
    assert_eq!((&*files["id_rsa"], &*files["copy"]), ("theirs", "shared"));
}
