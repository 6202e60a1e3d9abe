//! Rows on pairs of their own: how candidates come to them, and what becomes of them as roles change.
//! No row is about the shared pair alone.

use super::*;

fn staged(s: &mut Scene) {
    of(s, NODES[0]).staged = Some(pair('a'));
    of(s, NODES[1]).staged = Some(pair('b'));
}

fn known(s: &mut Scene) {
    staged(s);
    for name in NODES {
        let sight = of(s, name);
        sight.files.retain(|_| name != NODES[2]);
        sight.list = Some(list(true, &[(NODES[0], 'a'), (NODES[1], 'b')]));
        sight.lines.push(own_line('a', NODES[0]));
        sight.lines.push(own_line('b', NODES[1]));
    }
}

fn first(s: &mut Scene) {
    known(s);
    (of(s, NODES[1]).staged, of(s, NODES[1]).files) = (None, vec![file("id_rsa", 'b')]);
}

fn both(s: &mut Scene) {
    first(s);
    (of(s, NODES[0]).staged, of(s, NODES[0]).files) = (None, vec![file("id_rsa", 'a')]);
}

fn demote(s: &mut Scene) {
    s.candidates.remove(NODES[1]);
}

fn promote(s: &mut Scene) {
    s.candidates.insert(NODES[2].into());
}

#[test]
fn how_candidates_come_to_their_own_pairs_as_a_table() {
    let table: [Row; 2] = [
        (
            OWN,
            shared,
            |_| {},
            &["n2 make", "n3 delete id_rsa", "n1 make"],
        ),
        (
            OWN,
            scene,
            staged,
            &[
                "n2 wait to change to its own pair, until n1.x knows its key",
                "n2 add a",
                "n2 add b",
                "n3 add a",
                "n3 add b",
                "n3 delete id_rsa",
                "n1 wait to change to its own pair, until n1.x knows its key",
                "n1 add a",
                "n1 add b",
            ],
        ),
    ];
    check(&table);
}

#[test]
fn how_candidates_change_to_their_own_pairs_as_a_table() {
    const LAST: &str = "n1 wait to change to its own pair: the master is the last";
    let table: [Row; 6] = [
        (PLAIN, shared, known, &["n2 change", LAST]),
        (PLAIN, shared, first, &["n1 change"]),
        (
            PLAIN,
            shared,
            both,
            &["n2 remove s", "n3 remove s", "n1 remove s"],
        ),
        // What the administrator has put on the list stays.
        (
            PLAIN,
            shared,
            |s| {
                both(s);
                s.listed.insert(key(SHARED));
            },
            &[],
        ),
        // Nobody gives up the key that opens a node which is away.
        (
            PLAIN,
            shared,
            |s| {
                known(s);
                lose(s, NODES[2]);
            },
            &[
                "n2 wait to change to its own pair, until n3.x is seen, or removed from the cluster",
                "n3 refused offline",
                "n1 wait to change to its own pair, until n3.x is seen, or removed from the cluster",
            ],
        ),
        (PLAIN, own, |_| {}, &[]),
    ];
    check(&table);
}

#[test]
fn roles_change_with_own_pairs_as_a_table() {
    let table: [Row; 4] = [
        (
            PLAIN,
            own,
            demote,
            &[
                "n2 remove b",
                "n2 delete id_rsa",
                "n3 remove b",
                "n1 remove b",
            ],
        ),
        // It was off meanwhile, and is back.
        (
            PLAIN,
            own,
            |s| {
                demote(s);
                lose(s, NODES[1]);
            },
            &["n2 refused offline", "n3 remove b", "n1 remove b"],
        ),
        (
            PLAIN,
            own,
            |s| {
                demote(s);
                for name in [NODES[0], NODES[2]] {
                    of(s, name).lines.pop();
                }
            },
            &["n2 remove b", "n2 delete id_rsa"],
        ),
        (PLAIN, own, promote, &["n3 make"]),
    ];
    check(&table);
}

#[test]
fn what_is_left_of_former_pairs_as_a_table() {
    let table: [Row; 6] = [
        // It has nothing to lose, so it does not wait for a node that is away.
        (
            PLAIN,
            own,
            |s| {
                promote(s);
                of(s, NODES[2]).staged = Some(pair('c'));
                for name in [NODES[0], NODES[2]] {
                    of(s, name).lines.push(own_line('c', NODES[2]));
                }
                lose(s, NODES[1]);
            },
            &["n2 refused offline", "n3 change"],
        ),
        // A pair that was made for a node that is no candidate any more.
        (
            PLAIN,
            own,
            |s| of(s, NODES[2]).staged = Some(pair('c')),
            &["n3 delete"],
        ),
        (
            PLAIN,
            own,
            |s| of(s, NODES[1]).staged = Some(pair('c')),
            &["n2 delete"],
        ),
        // Removed from the cluster: its line goes by the comment.
        (
            PLAIN,
            own,
            |s| {
                demote(s);
                s.nodes.remove(NODES[1]);
            },
            &["n3 remove b", "n1 remove b"],
        ),
        // Another pair since it was promoted again; and one that cannot be asked keeps its line.
        (
            PLAIN,
            own,
            |s| of(s, NODES[2]).lines.push(own_line('o', NODES[1])),
            &["n3 remove o"],
        ),
        (
            PLAIN,
            own,
            |s| {
                of(s, NODES[2]).lines.push(own_line('o', NODES[1]));
                lose(s, NODES[1]);
            },
            &["n2 refused offline"],
        ),
    ];
    check(&table);
}
