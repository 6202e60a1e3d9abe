//! What each node needs as tables; what a node that lies can do; and whole clusters whose nodes come
//! and go while runs are killed.

mod edges;
mod life;
mod own;

use super::*;
use crate::ssh_keys::Fingerprint;
use crate::ssh_keys::sight::{self, KeyFile, Line, Sight};
use crate::ssh_keys::tests::{key, line};

const NODES: [&str; 3] = ["n1.x", "n2.x", "n3.x"];
/// The pair that all share.
const SHARED: char = 's';

fn pair(letter: char) -> Pair {
    Pair {
        key: key(letter),
        public: format!("ssh-rsa {letter}"),
    }
}

/// The line of a node's own pair, as it is written.
fn own_line(letter: char, node: &str) -> Line {
    line_of(&pair(letter), node)
}

fn line_of(pair: &Pair, node: &str) -> Line {
    let text = pair.line(node);
    let comment = text.trim_end().splitn(3, ' ').nth(2).unwrap();
    Line {
        key: pair.key.clone(),
        ..line(SHARED, comment)
    }
}

fn file(name: &str, letter: char) -> KeyFile {
    KeyFile {
        name: name.into(),
        private: true,
        key: key(letter),
        modified: 0,
        of_root: true,
        signature: None,
        proven: true,
    }
}

fn list(own_pairs: bool, own: &[(&str, char)]) -> List {
    List {
        version: list::VERSION,
        own_pairs,
        shared: Some(key(SHARED)),
        own: own
            .iter()
            .map(|(node, letter)| ((*node).to_owned(), pair(*letter)))
            .collect(),
    }
}

/// n1, the master, and n2 are candidates; all three have the shared pair, as Ganeti 2.12 leaves it.
fn scene() -> Scene {
    let sight = || Sight {
        version: sight::VERSION,
        lines: vec![line(SHARED, "root@n1.x")],
        files: vec![file("id_rsa", SHARED)],
        ..Sight::default()
    };
    Scene {
        master: NODES[0].into(),
        candidates: NODES[..2].iter().map(|&name| name.to_owned()).collect(),
        nodes: NODES.map(|name| (name.to_owned(), Ok(sight()))).into(),
        ..Scene::default()
    }
}

/// The same with a list, so that nothing is to be done but on n3.
fn shared() -> Scene {
    let mut scene = scene();
    for name in NODES {
        of(&mut scene, name).list = Some(list(false, &[]));
    }
    scene
}

/// Both candidates have pairs of their own, and the shared one is gone.
fn own() -> Scene {
    let mut scene = shared();
    let pairs = [(NODES[0], 'a'), (NODES[1], 'b')];
    for name in NODES {
        let sight = of(&mut scene, name);
        sight.list = Some(list(true, &pairs));
        sight.lines = pairs.map(|(node, letter)| own_line(letter, node)).into();
        sight.files.clear();
    }
    for (node, letter) in pairs {
        of(&mut scene, node).files = vec![file("id_rsa", letter)];
    }
    scene
}

fn of<'a>(scene: &'a mut Scene, node: &str) -> &'a mut Sight {
    scene.nodes.get_mut(node).unwrap().as_mut().unwrap()
}

fn lose(scene: &mut Scene, node: &str) {
    scene.nodes.insert(node.into(), Err("offline".into()));
}

/// Each need as `NODE NEED`, without the lists.
fn needs(scene: &Scene, wishes: &Wishes) -> Result<Vec<String>, String> {
    let plan = plan(scene, wishes)?;
    let of_node = |node: &Node| -> Vec<String> {
        let label = node.name.split('.').next().unwrap().to_owned();
        let needs = node.needs.iter().filter(|need| **need != Need::List);
        let text = |need: &Need| {
            let text = need.to_string();
            let short: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
            let word = match need {
                Need::Remove(line, _) => format!("remove {}", &line.key.to_string()[7..8]),
                Need::Add(_, pair) => format!("add {}", &pair.key.to_string()[7..8]),
                Need::Take(_, file, _) => format!("delete {file}"),
                Need::Wait(why) => format!("wait {why}"),
                _ => short[0].to_owned(),
            };
            format!("{label} {word}")
        };
        let mut all: Vec<String> = needs.map(text).collect();
        all.extend(
            node.refused
                .iter()
                .map(|why| format!("{label} refused {why}")),
        );
        all
    };
    Ok(plan.nodes.iter().flat_map(of_node).collect())
}

const PLAIN: Wishes = Wishes {
    own_pairs: false,
    shared_pair: false,
};
const OWN: Wishes = Wishes {
    own_pairs: true,
    ..PLAIN
};
const SAID: Wishes = Wishes {
    shared_pair: true,
    ..PLAIN
};

type Row = (
    Wishes,
    fn() -> Scene,
    fn(&mut Scene),
    &'static [&'static str],
);

fn check(table: &[Row]) {
    for (at, (wishes, scene, change, expected)) in table.iter().enumerate() {
        let mut scene = scene();
        change(&mut scene);
        assert_eq!(needs(&scene, wishes).unwrap(), *expected, "row {at}");
    }
}

#[test]
fn where_the_shared_pair_goes_and_where_not_as_a_table() {
    let table: [Row; 11] = [
        (PLAIN, scene, |_| {}, &["n3 delete id_rsa"]),
        (PLAIN, shared, |_| {}, &["n3 delete id_rsa"]),
        // Copies under other names, and every one.
        (
            PLAIN,
            scene,
            |s| of(s, NODES[2]).files.push(file("id_rsa.backup-1", SHARED)),
            &["n3 delete id_rsa", "n3 delete id_rsa.backup-1"],
        ),
        // A key of its own, which is another one, is nobody's business.
        (
            PLAIN,
            scene,
            |s| of(s, NODES[2]).files = vec![file("id_rsa", 'o')],
            &[],
        ),
        // A promoted node gets it; one that has another pair there does not.
        (
            PLAIN,
            scene,
            |s| of(s, NODES[1]).files.clear(),
            &["n2 bring", "n3 delete id_rsa"],
        ),
        (
            PLAIN,
            scene,
            |s| of(s, NODES[1]).files = vec![file("id_rsa", 'o')],
            &[
                "n2 refused its id_rsa is another pair, which stays: move it away",
                "n3 delete id_rsa",
            ],
        ),
        (
            PLAIN,
            scene,
            |s| of(s, NODES[1]).files = vec![file("id_ecdsa", 'o')],
            &["n2 bring", "n3 delete id_rsa"],
        ),
        (PLAIN, scene, |s| lose(s, NODES[2]), &["n3 refused offline"]),
        // However the master came in, nothing is done where its key is not authorized.
        (
            PLAIN,
            scene,
            |s| of(s, NODES[2]).lines[0].options = true,
            &["n3 refused the master's key is not authorized there"],
        ),
        // The master alone has it: that it is shared was decided before, or is said.
        (
            PLAIN,
            shared,
            |s| {
                for name in &NODES[1..] {
                    of(s, name).files.clear();
                }
            },
            &["n2 bring"],
        ),
        (
            SAID,
            scene,
            |s| {
                for name in &NODES[1..] {
                    of(s, name).files.clear();
                }
            },
            &["n2 bring"],
        ),
    ];
    check(&table);
}

#[test]
fn lines_of_others_stay() {
    for change in [
        |s: &mut Scene| of(s, NODES[2]).lines.push(line('o', "admin@desk")),
        |s: &mut Scene| of(s, NODES[2]).lines.push(line('o', "root@n2.x")),
        |s: &mut Scene| {
            let line = own_line('o', "n9.x");
            let options = true;
            of(s, NODES[2]).lines.push(Line { options, ..line });
        },
        // Nor the master's own key, whatever stands behind it.
        |s: &mut Scene| of(s, NODES[2]).lines.push(own_line('a', "n9.x")),
    ] {
        let mut scene = own();
        change(&mut scene);
        assert_eq!(needs(&scene, &PLAIN).unwrap(), [""; 0]);
    }
}

#[test]
fn clusters_that_are_left_alone_as_a_table() {
    type Row = (fn(&mut Scene), &'static str);
    let table: [Row; 5] = [
        (
            |s| {
                for name in &NODES[1..] {
                    of(s, name).files = vec![file("id_rsa", 'o')];
                }
            },
            "no other node has the master's private SSH key",
        ),
        (|s| of(s, NODES[0]).files.clear(), "has no private SSH key"),
        (|s| of(s, NODES[0]).lines.clear(), "opens its own door"),
        (|s| lose(s, NODES[0]), "the master itself: offline"),
        (
            |s| drop(s.nodes.remove(NODES[0])),
            "not in ssconf_node_list",
        ),
    ];
    for (change, word) in table {
        let mut scene = scene();
        change(&mut scene);
        let why = needs(&scene, &PLAIN).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_candidate_that_becomes_master_goes_on_from_its_own_list() {
    // n2 takes over in the middle: the old master still has the shared pair, and its list is old.
    let mut scene = own();
    scene.master = NODES[1].into();
    let first = of(&mut scene, NODES[0]);
    (first.list, first.files) = (Some(list(false, &[])), vec![file("id_rsa", SHARED)]);
    first.staged = Some(pair('a'));
    for name in NODES {
        of(&mut scene, name).lines.push(line(SHARED, "root@n1.x"));
    }
    assert_eq!(needs(&scene, &PLAIN).unwrap(), ["n1 change"]);
    // The other way round: the new master's list is old, and a candidate's is not.
    let mut scene = own();
    of(&mut scene, NODES[0]).list = None;
    let plan = plan(&scene, &PLAIN).unwrap();
    assert_eq!(plan.list, list(true, &[(NODES[0], 'a'), (NODES[1], 'b')]));
}

#[test]
fn a_normal_node_that_lies_changes_nothing_elsewhere() {
    let mut scene = own();
    let liar = of(&mut scene, NODES[2]);
    liar.list = Some(list(false, &[(NODES[0], 'x'), (NODES[2], 'y')]));
    liar.files = vec![file("id_rsa", 'a'), file("other", 'b')];
    liar.lines.push(own_line('x', NODES[1]));
    let plan = plan(&scene, &PLAIN).unwrap();
    for node in plan.nodes.iter().filter(|node| node.name != NODES[2]) {
        assert_eq!(node.needs, [], "{}", node.name);
    }
    assert_eq!(plan.list, list(true, &[(NODES[0], 'a'), (NODES[1], 'b')]));
}
