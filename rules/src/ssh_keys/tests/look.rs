//! What the master's own files say, and what a look becomes on the wire. Nothing is planned.

use super::super::scene::Scene;
use super::super::sight::Sight;
use super::{DAY, NOW, key};
use crate::verify::observed::*;

fn public(letter: char, comment: &str) -> PublicKey {
    PublicKey {
        kind: "ssh-rsa".into(),
        fingerprint: key(letter).to_string(),
        comment: comment.into(),
    }
}

/// What the master reads of itself.
fn master() -> Observed {
    let node = |name: &str, master_candidate| verify_node(name, master_candidate);
    let nodes = [
        ("u1", node("n1.x", true)),
        ("u2", node("n2.x", true)),
        ("u3", node("n3.x", false)),
    ];
    let keys = [("u1", '1'), ("u2", '2'), ("u3", '3')];
    let keys = keys.map(|(uuid, letter)| (uuid.to_owned(), public(letter, "")));
    Observed {
        host: "n1.x".into(),
        configuration: Seen::Good(Configuration {
            nodes: nodes.map(|(uuid, node)| (uuid.to_owned(), node)).into(),
            modify_ssh_setup: true,
            ..Configuration::default()
        }),
        ssh: Ssh {
            pub_keys: Seen::Good(PubKeys {
                keys: keys.into(),
                bad_lines: Vec::new(),
            }),
            ..Ssh::default()
        },
        ..Observed::default()
    }
}

fn verify_node(name: &str, master_candidate: bool) -> Node {
    Node {
        name: name.into(),
        master_candidate,
        ..Default::default()
    }
}

#[test]
fn clusters_that_are_left_alone_as_a_table() {
    fn keys(seen: &mut Observed) -> &mut PubKeys {
        match &mut seen.ssh.pub_keys {
            Seen::Good(keys) => keys,
            _ => unreachable!(),
        }
    }
    type Row = (fn(&mut Observed), &'static str);
    let table: [Row; 9] = [
        (|_| {}, ""),
        (|seen| keys(seen).keys.truncate(2), ""),
        (
            |seen| drop(keys(seen).keys.remove(1)),
            "no key of the candidate n2.x",
        ),
        (
            |seen| {
                let why = "expected UUID TYPE KEY".into();
                keys(seen).bad_lines.push(BadLine { line: 4, why });
            },
            "line 4",
        ),
        (|seen| seen.ssh.pub_keys = Seen::Absent, "does not manage"),
        (
            |seen| match &mut seen.configuration {
                Seen::Good(configured) => configured.modify_ssh_setup = false,
                _ => unreachable!(),
            },
            "does not manage",
        ),
        (
            |seen| match &mut seen.configuration {
                Seen::Good(configured) => configured.version = 2_120_000,
                _ => unreachable!(),
            },
            "does not manage",
        ),
        (|seen| seen.configuration = Seen::Absent, "not the master"),
        (|seen| seen.forbidden.push("/x".into()), "run it as root"),
    ];
    for (change, expected) in table {
        let mut seen = master();
        change(&mut seen);
        match Scene::of_master(&seen, &["nonsense".into(), key('l').to_string()].into()) {
            Ok(scene) => {
                assert_eq!(expected, "");
                assert_eq!(scene.current[&key('2')], "n2.x");
                assert_eq!(scene.candidates, ["n1.x".into(), "n2.x".into()].into());
                assert_eq!(scene.listed, [key('l')].into());
            }
            Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{why}"),
        }
    }
}

#[test]
fn a_look_becomes_what_a_node_says() {
    let path = "/root/.ssh/id_rsa.backup-1".to_owned();
    let mut seen = Observed {
        at: NOW,
        ..Observed::default()
    };
    let authorized = Authorized {
        line: 7,
        options: vec!["from=\"x\"".into()],
        key: public('a', "root@n1\u{1b}"),
    };
    let lines = AuthorizedLines {
        keys: vec![authorized],
        bad_lines: Vec::new(),
    };
    let of = |lines| AuthorizedFile {
        path: "/root/.ssh/authorized_keys".into(),
        lines,
    };
    seen.ssh.authorized = vec![of(Seen::Good(lines))];
    let key_file = |name: &str, key| KeyFile {
        path: format!("/root/.ssh/{name}"),
        name: name.into(),
        private: true,
        of_root: true,
        key,
    };
    seen.ssh.key_files = vec![
        key_file("id_rsa.backup-1", Seen::Good(public('b', ""))),
        key_file("secret", Seen::Faulty("encrypted".into())),
    ];
    seen.files = vec![File {
        path,
        purpose: Purpose::RootKey,
        mode: 0o600,
        owner: owner(),
        group: owner(),
        modified: 7 * DAY,
    }];
    let sight = Sight::of(&seen);
    assert_eq!((sight.lines[0].number, sight.lines[0].options), (7, true));
    assert_eq!((sight.files[0].modified, sight.unknown), (7 * DAY, 1));
    assert_eq!(sight.fault(), None);
    let json = serde_json::to_string(&sight).unwrap();
    assert_eq!(serde_json::from_str::<Sight>(&json).unwrap(), sight);

    seen.ssh.authorized = vec![of(Seen::Faulty("too large".into()))];
    assert_eq!(
        Sight::of(&seen).fault(),
        Some("/root/.ssh/authorized_keys: too large")
    );
    assert!(
        Sight::default()
            .fault()
            .unwrap()
            .contains("another version")
    );
}

fn owner() -> Owner {
    Owner {
        id: 0,
        name: None,
        trusted: true,
    }
}
