//! Whatever one node says, it takes away nobody's keys but its own, and nothing that counts; and it
//! keeps nobody's.

use super::*;
use proptest::prelude::*;

const COMMENTS: [&str; 6] = [
    "root@n1.x",
    "root@n2.x",
    "root@n2",
    "root@n3.x",
    "admin@desk",
    "",
];
const FILES: [&str; 6] = [
    BACKUP,
    COPY,
    "id_rsa",
    "id_ecdsa.backup-1",
    "id_foo",
    "authorized_keys.backup-1",
];

fn any_line() -> impl Strategy<Value = Line> {
    let letter = prop::char::range('1', '6');
    (letter, prop::sample::select(&COMMENTS[..]), any::<bool>()).prop_map(
        |(letter, comment, options)| Line {
            options,
            ..line(letter, comment)
        },
    )
}

fn any_sight() -> impl Strategy<Value = Sight> {
    let letter = prop::char::range('1', '6');
    let any_file = (prop::sample::select(&FILES[..]), letter, any::<bool>());
    let any_file = any_file.prop_map(|(name, letter, private)| KeyFile {
        private,
        proven: private,
        ..file(name, letter)
    });
    let files = prop::collection::vec(any_file, 0..6);
    let lines = prop::collection::vec(any_line(), 0..6);
    (files, lines, 0_usize..2).prop_map(|(files, lines, unknown)| Sight {
        version: sight::VERSION,
        files,
        lines,
        unknown,
        ..Sight::default()
    })
}

proptest! {
    #[test]
    fn a_node_that_lies_takes_away_its_own_keys_alone(
        lie in any_sight(),
        lines in prop::collection::vec(any_line(), 0..6),
    ) {
        let mut scene = scene();
        scene.listed.insert(key('6'));
        of(&mut scene, "n3.x").lines.extend(lines);
        scene.nodes.insert("n2.x".into(), Ok(lie));
        let before = |name: &str| scene.nodes[name].as_ref().unwrap();
        let plan = plan(&scene, &PLAIN).unwrap();
        for node in &plan.nodes {
            for (line, _) in &node.remove {
                prop_assert!(!line.options);
                prop_assert!(!scene.current.contains_key(&line.key));
                prop_assert!(!scene.listed.contains(&line.key));
                let its_own = ["root@n2.x", "root@n2"].contains(&&*line.comment);
                prop_assert!(its_own || node.name == "n2.x", "{}: {:?}", node.name, line);
            }
            if !node.remove.is_empty() {
                let stays = |line: &&Line| node.remove.iter().all(|(gone, _)| gone.key != line.key);
                let left = before(&node.name).lines.iter().filter(stays);
                prop_assert!(left.clone().any(|l| l.key == plan.masters_key && !l.options));
            }
        }
    }

    #[test]
    fn a_normal_node_that_lies_keeps_no_key_that_another_has_proven(
        lie in any_sight(),
        proven in any::<bool>(),
        by_comment in any::<bool>(),
    ) {
        let mut scene = scene();
        of(&mut scene, "n3.x").files.push(file(BACKUP, '5'));
        for name in ["n1.x", "n3.x"] {
            of(&mut scene, name).lines.push(line('5', "root@n3.x"));
        }
        let files = lie.files.into_iter();
        let files = files.map(|file| KeyFile { proven, ..file });
        let lie = Sight { files: files.collect(), ..lie };
        scene.nodes.insert("n2.x".into(), Ok(lie));
        let plan = plan(&scene, &Wishes { by_comment, ..PLAIN }).unwrap();
        for name in ["n1.x", "n3.x"] {
            let gone = node(&plan, name).remove;
            prop_assert!(gone.iter().any(|(line, _)| line.key == key('5')), "{}: {:?}", name, gone);
        }
    }
}
