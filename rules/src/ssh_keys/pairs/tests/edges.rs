//! What only stands between a cluster and a lockout when something else has gone wrong, and what a list
//! forgets. No row is about the usual course of a run.

use super::*;

#[test]
fn the_key_that_the_master_uses_stays_whosever_its_line_says_it_is() {
    let mut scene = own();
    of(&mut scene, NODES[0]).files = vec![file("id_rsa", 'm')];
    for name in NODES {
        of(&mut scene, name).lines.push(own_line('m', "n9.x"));
    }
    let needs = needs(&scene, &PLAIN).unwrap();
    assert!(
        !needs.iter().any(|need| need.ends_with("remove m")),
        "{needs:?}"
    );
}

#[test]
fn a_claim_without_proof_makes_no_key_the_shared_one() {
    let mut scene = scene();
    for name in &NODES[1..] {
        of(&mut scene, name).files[0].proven = false;
    }
    let why = needs(&scene, &PLAIN).unwrap_err();
    assert!(
        why.contains("no other node has the master's private SSH key"),
        "{why}"
    );
}

#[test]
fn the_shared_line_stays_while_a_candidate_is_not_seen() {
    let mut scene = own();
    for name in NODES {
        of(&mut scene, name).lines.push(line(SHARED, "root@n1.x"));
    }
    let all = needs(&scene, &PLAIN).unwrap();
    assert_eq!(all, ["n2 remove s", "n3 remove s", "n1 remove s"]);
    lose(&mut scene, NODES[1]);
    assert_eq!(needs(&scene, &PLAIN).unwrap(), ["n2 refused offline"]);
}

#[test]
fn dsa_ends_with_the_shared_pair() {
    let mut scene = shared();
    of(&mut scene, NODES[0]).files = vec![file("id_dsa", SHARED)];
    assert_eq!(plan(&scene, &PLAIN).unwrap().file, "id_dsa");
    assert_eq!(plan(&scene, &OWN).unwrap().file, "id_rsa");
}

#[test]
fn a_former_pair_is_forgotten_when_nothing_of_it_is_left() {
    let mut scene = own();
    scene.candidates.remove(NODES[1]);
    let left = |scene: &Scene| plan(scene, &PLAIN).unwrap().list.own.contains_key(NODES[1]);
    assert!(left(&scene), "its private half and its lines are there");
    of(&mut scene, NODES[1]).files.clear();
    assert!(left(&scene), "its lines are there");
    for name in NODES {
        of(&mut scene, name)
            .lines
            .retain(|line| line.key != key('b'));
    }
    assert!(!left(&scene));
    lose(&mut scene, NODES[1]);
    assert!(left(&scene), "nobody has seen that it is gone");
}
