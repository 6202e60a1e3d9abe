//! The decisions as tables: each row is one authorized key on n3, and what becomes of it; what keeps
//! a node or the cluster from being changed; and what a node that lies can do.

mod hostile;
mod look;
mod whole;

use super::*;
use crate::ssh_keys::sight::{KeyFile, Line, Sight};

const DAY: i64 = 86_400;
const NOW: i64 = 1_000 * DAY;
const BACKUP: &str = "id_rsa.backup-2026-11-27_11_07_37.wgfjz68s";
const COPY: &str = "id_rsa.pub.backup-2026-11-27_11_07_37.638sm6pd";

pub(super) fn key(letter: char) -> Fingerprint {
    format!("SHA256:{}", letter.to_string().repeat(43))
        .parse()
        .unwrap()
}

pub(super) fn line(letter: char, comment: &str) -> Line {
    Line {
        path: "/root/.ssh/authorized_keys".into(),
        number: 1,
        key: key(letter),
        comment: comment.into(),
        options: false,
    }
}

fn file(name: &str, letter: char) -> KeyFile {
    KeyFile {
        name: name.into(),
        private: name.starts_with("id_") && !name.contains(".pub"),
        key: key(letter),
        modified: NOW - 40 * DAY,
        of_root: true,
        signature: None,
        proven: name.starts_with("id_") && !name.contains(".pub"),
    }
}

/// n1 (the master), n2 and n3 with the keys 1, 2 and 3, each authorized everywhere.
fn scene() -> Scene {
    let names = ["n1.x", "n2.x", "n3.x"];
    let mut scene = Scene {
        master: names[0].into(),
        candidates: [names[0].into()].into(),
        ..Scene::default()
    };
    for (name, letter) in names.into_iter().zip(['1', '2', '3']) {
        scene.current.insert(key(letter), name.into());
        let lines = ['1', '2'].map(|of| line(of, &format!("root@n{of}.x")));
        let sight = Sight {
            version: sight::VERSION,
            lines: lines.into(),
            files: vec![file("id_rsa", letter), file("id_rsa.pub", letter)],
            ..Sight::default()
        };
        scene.nodes.insert(name.into(), Ok(sight));
    }
    scene
}

fn of<'a>(scene: &'a mut Scene, node: &str) -> &'a mut Sight {
    scene.nodes.get_mut(node).unwrap().as_mut().unwrap()
}

fn node(plan: &Plan, name: &str) -> Node {
    plan.nodes
        .iter()
        .find(|node| node.name == name)
        .unwrap()
        .clone()
}

const PLAIN: Wishes = Wishes {
    by_comment: false,
    aside_before: Some(NOW - 30 * DAY),
};
const BY_COMMENT: Wishes = Wishes {
    by_comment: true,
    ..PLAIN
};

fn backup(node: &str, file: &str) -> Proof {
    let (node, file) = (node.into(), file.into());
    Proof::Backup { node, file }
}

/// What becomes of the key `o` with this comment on n3, when the cluster is changed so.
fn verdict(comment: &str, wishes: &Wishes, change: fn(&mut Scene)) -> Verdict {
    let mut scene = scene();
    of(&mut scene, "n3.x").lines.push(line('o', comment));
    change(&mut scene);
    let n3 = node(&plan(&scene, wishes).unwrap(), "n3.x");
    let is_it = |line: &Line| line.key == key('o');
    let removed = n3.remove.into_iter().find(|(line, _)| is_it(line));
    let told = n3.told.into_iter().find(|(line, _)| is_it(line));
    match (removed, told) {
        (Some((_, proof)), None) => Verdict::Remove(proof),
        (None, Some((_, why))) => Verdict::Told(why),
        (None, None) => Verdict::Good,
        both => panic!("{both:?}"),
    }
}

#[test]
fn what_becomes_of_a_key_as_a_table() {
    let n2 = || "n2.x".to_owned();
    let in_use = |node: &str, file: &str| {
        let (node, file) = (node.into(), file.into());
        Verdict::Told(Kept::InUse { node, file })
    };
    type Row = (&'static str, Wishes, fn(&mut Scene), Verdict);
    let table: Vec<Row> = vec![
        // Proofs.
        (
            "root@n2.x",
            PLAIN,
            |s| of(s, "n2.x").files.push(file(BACKUP, 'o')),
            Verdict::Remove(backup("n2.x", BACKUP)),
        ),
        // Nor does one whose key has signed nothing: that is the node's bare word.
        (
            "root@n2.x",
            PLAIN,
            |s| {
                let proven = false;
                let file = file(BACKUP, 'o');
                of(s, "n2.x").files.push(KeyFile { proven, ..file });
            },
            Verdict::Told(Kept::CommentOnly { node: n2() }),
        ),
        // Another user's file proves nothing, and is one that somebody may use.
        (
            "root@n2.x",
            PLAIN,
            |s| {
                let of_root = false;
                let file = file(BACKUP, 'o');
                of(s, "n2.x").files.push(KeyFile { of_root, ..file });
            },
            in_use("n2.x", BACKUP),
        ),
        (
            "root@n2",
            PLAIN,
            |s| of(s, "n2.x").files.push(file(BACKUP, 'o')),
            Verdict::Remove(backup("n2.x", BACKUP)),
        ),
        // Whoever may read authorized_keys has the public half.
        (
            "root@n2",
            PLAIN,
            |s| of(s, "n2.x").files.push(file(COPY, 'o')),
            Verdict::Told(Kept::CommentOnly { node: n2() }),
        ),
        (
            "whatever",
            PLAIN,
            |s| of(s, "n3.x").files.push(file(BACKUP, 'o')),
            Verdict::Remove(backup("n3.x", BACKUP)),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |_| {},
            Verdict::Remove(Proof::Comment { node: n2() }),
        ),
        // A node that lies about a key of somebody else's.
        (
            "admin@desk",
            BY_COMMENT,
            |s| of(s, "n2.x").files.push(file(BACKUP, 'o')),
            Verdict::Told(Kept::BackupElsewhere { node: n2() }),
        ),
        (
            "root@n1.x",
            PLAIN,
            |s| of(s, "n2.x").files.push(file(BACKUP, 'o')),
            Verdict::Told(Kept::CommentOnly {
                node: "n1.x".into(),
            }),
        ),
        (
            "admin@desk",
            PLAIN,
            |s| of(s, "n3.x").files.push(file(COPY, 'o')),
            Verdict::Told(Kept::BackupElsewhere {
                node: "n3.x".into(),
            }),
        ),
        (
            "admin@desk",
            PLAIN,
            |s| {
                of(s, "n3.x")
                    .files
                    .push(file("authorized_keys.backup-x", 'o'))
            },
            Verdict::Told(Kept::Stranger),
        ),
        // What is not known.
        (
            "root@n2.x",
            PLAIN,
            |_| {},
            Verdict::Told(Kept::CommentOnly { node: n2() }),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                s.nodes.insert("n2.x".into(), Err("down".into()));
            },
            Verdict::Told(Kept::Unsure { node: n2() }),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| of(s, "n2.x").unknown = 1,
            Verdict::Told(Kept::Unsure { node: n2() }),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                s.current.remove(&key('2'));
            },
            Verdict::Told(Kept::Unsure { node: n2() }),
        ),
        (
            "root@n2",
            BY_COMMENT,
            |s| {
                s.nodes.insert("n2.y".into(), Ok(Sight::default()));
            },
            Verdict::Told(Kept::Stranger),
        ),
        (
            "admin@desk",
            BY_COMMENT,
            |_| {},
            Verdict::Told(Kept::Stranger),
        ),
        (
            "root@n9.x",
            BY_COMMENT,
            |_| {},
            Verdict::Told(Kept::Stranger),
        ),
        ("", BY_COMMENT, |_| {}, Verdict::Told(Kept::Stranger)),
        // What counts more than any proof.
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                s.listed.insert(key('o'));
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
            },
            Verdict::Good,
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                s.current.insert(key('o'), "n2.x".into());
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
            },
            Verdict::Good,
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
                of(s, "n1.x").files.push(file("id_copy", 'o'));
            },
            in_use("n1.x", "id_copy"),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
                of(s, "n2.x").files.push(file("id_rsa", 'o'));
            },
            in_use("n2.x", "id_rsa"),
        ),
        // A normal node that says it uses a key that another has proven to be its former one.
        (
            "root@n2.x",
            PLAIN,
            |s| {
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
                s.nodes.insert("n4.x".into(), Ok(Sight::default()));
                of(s, "n4.x").files.push(file("id_copy", 'o'));
            },
            Verdict::Remove(backup("n2.x", BACKUP)),
        ),
        (
            "root@n2.x",
            PLAIN,
            |s| {
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
                of(s, "n3.x").files.push(file("id_copy", 'o'));
            },
            in_use("n3.x", "id_copy"),
        ),
        // A bare word counts where the comment names the node, and where nothing would be done anyway.
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                let proven = false;
                let file = file("id_copy", 'o');
                of(s, "n2.x").files.push(KeyFile { proven, ..file });
            },
            in_use("n2.x", "id_copy"),
        ),
        (
            "admin@desk",
            PLAIN,
            |s| {
                let proven = false;
                let file = file("id_copy", 'o');
                of(s, "n2.x").files.push(KeyFile { proven, ..file });
            },
            in_use("n2.x", "id_copy"),
        ),
        // Where there is only a comment, one that has the key says so with a signature.
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                s.nodes.insert("n4.x".into(), Ok(Sight::default()));
                of(s, "n4.x").files.push(file("id_copy", 'o'));
            },
            in_use("n4.x", "id_copy"),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                let proven = false;
                let file = file("id_copy", 'o');
                s.nodes.insert("n4.x".into(), Ok(Sight::default()));
                of(s, "n4.x").files.push(KeyFile { proven, ..file });
            },
            Verdict::Remove(Proof::Comment { node: n2() }),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                let proven = false;
                let file = file("id_copy", 'o');
                of(s, "n1.x").files.push(KeyFile { proven, ..file });
            },
            in_use("n1.x", "id_copy"),
        ),
        (
            "root@n2.x",
            BY_COMMENT,
            |s| {
                of(s, "n2.x").files.push(file(BACKUP, 'o'));
                of(s, "n3.x").lines[2].options = true;
            },
            Verdict::Told(Kept::Options),
        ),
    ];
    for (at, (comment, wishes, change, expected)) in table.into_iter().enumerate() {
        assert_eq!(verdict(comment, &wishes, change), expected, "row {at}");
    }
}
