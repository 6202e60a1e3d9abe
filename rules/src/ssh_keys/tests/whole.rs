//! Nodes and clusters that are left alone, and backups.

use super::*;

#[test]
fn a_good_cluster_is_left_as_it_is() {
    let mut scene = scene();
    scene.candidates.insert("n3.x".into());
    let plan = plan(&scene, &BY_COMMENT).unwrap();
    assert_eq!(plan.masters_key, key('1'));
    let names: Vec<&str> = plan.nodes.iter().map(|node| &*node.name).collect();
    let why = "candidates, the master, and those that may lie";
    assert_eq!(names, ["n3.x", "n1.x", "n2.x"], "{why}");
    for node in plan.nodes {
        let expected = Node {
            name: node.name.clone(),
            ..Node::default()
        };
        assert_eq!(node, expected);
    }
}

#[test]
fn the_masters_key_must_open_a_node_that_is_changed() {
    type Row = (fn(&mut Sight), bool);
    let table: [Row; 4] = [
        (|_| {}, true),
        (|n3| n3.lines[0].options = true, false),
        (|n3| drop(n3.lines.remove(0)), false),
        (|n3| n3.lines.push(line('1', "twice")), true),
    ];
    for (at, (change, good)) in table.into_iter().enumerate() {
        let mut scene = scene();
        let n3 = of(&mut scene, "n3.x");
        change(n3);
        n3.files.push(file(BACKUP, 'o'));
        n3.lines.push(line('o', "root@n3.x"));
        let n3 = node(&plan(&scene, &PLAIN).unwrap(), "n3.x");
        assert_eq!(
            (n3.refused.is_none(), n3.remove.len()),
            (good, usize::from(good)),
            "row {at}"
        );
        assert_eq!(n3.delete().count(), usize::from(good), "row {at}");
    }
}

#[test]
fn nothing_is_done_while_the_masters_own_key_is_not_known() {
    type Row = fn(&mut Scene);
    let table: [Row; 4] = [
        |scene| drop(scene.nodes.remove("n1.x")),
        |scene| drop(scene.nodes.insert("n1.x".into(), Err("down".into()))),
        |scene| of(scene, "n1.x").files.clear(),
        |scene| of(scene, "n1.x").files[0].key = key('o'),
    ];
    for change in table {
        let mut scene = scene();
        change(&mut scene);
        let why = plan(&scene, &PLAIN).unwrap_err();
        assert!(why.contains("master's own key"), "{why}");
    }
}

#[test]
fn what_becomes_of_a_backup_as_a_table() {
    type Row = (Wishes, fn(&mut Scene), &'static [Fate]);
    let none = Wishes::default();
    let table: [Row; 9] = [
        (PLAIN, |_| {}, &[Fate::Delete]),
        (none, |_| {}, &[]),
        (
            PLAIN,
            |s| of(s, "n2.x").files.last_mut().unwrap().modified = NOW,
            &[Fate::Young],
        ),
        (PLAIN, |s| s.listed.extend([key('o')]), &[Fate::Present]),
        (
            PLAIN,
            |s| drop(s.current.insert(key('o'), "n9.x".into())),
            &[Fate::Present],
        ),
        // A line that stays, and nodes that may have one.
        (
            PLAIN,
            |s| {
                let n3 = of(s, "n3.x");
                n3.lines.remove(0); // the master does not come in
                n3.lines.push(line('o', "root@n2.x"));
            },
            &[Fate::Proof],
        ),
        (
            PLAIN,
            |s| of(s, "n3.x").lines.push(line('o', "other")),
            &[Fate::Proof],
        ),
        (
            PLAIN,
            |s| drop(s.nodes.insert("n3.x".into(), Err("down".into()))),
            &[Fate::Proof],
        ),
        (
            PLAIN,
            |s| {
                s.nodes.insert("n3.x".into(), Err("down".into()));
                of(s, "n2.x").files.push(file(COPY, 'o')); // it proves nothing elsewhere
            },
            &[Fate::Proof],
        ),
    ];
    for (at, (wishes, change, expected)) in table.into_iter().enumerate() {
        let mut scene = scene();
        of(&mut scene, "n2.x").files.push(file(BACKUP, 'o'));
        change(&mut scene);
        let n2 = node(&plan(&scene, &wishes).unwrap(), "n2.x");
        let fates: Vec<Fate> = n2.backups.iter().map(|backup| backup.fate).collect();
        assert_eq!(fates, expected, "row {at}");
    }
}

#[test]
fn names_of_backups_as_a_table() {
    for (name, expected) in [
        (BACKUP, true),
        (COPY, true),
        ("id_ecdsa.backup-2026-11-27_11_07_33._poe77ut", true),
        ("id_rsa", false),
        ("id_rsa.backup", false),
        ("authorized_keys.backup-1", false),
        ("id_rsa.backup-../../../etc/passwd", false),
        ("id_rsa.backup-a b", false),
        ("x/id_rsa.backup-1", false),
    ] {
        assert_eq!(sight::is_backup(name), expected, "{name}");
    }
}
