//! The house rules of the code, read off the sources: who may use whom, which folder may name which
//! crate, and how large files and functions may be. It reads `src/` and `rules/`; it compiles and
//! runs nothing of them.
//!
//! `tests/architecture/proof.rs` shows that each rule fails on a small source that breaks it.
//! `cargo test --test architecture -- --nocapture sizes` prints the sizes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its sources has failed"
)]

#[path = "architecture/arrows.rs"]
mod arrows;
#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/crates.rs"]
mod crates;
#[path = "architecture/docs.rs"]
mod docs;
#[path = "architecture/proof.rs"]
mod proof;
#[path = "architecture/sizes.rs"]
mod sizes;
#[path = "architecture/source.rs"]
mod source;

use source::Tree;

fn none(found: &[String]) {
    assert!(found.is_empty(), "\n  {}\n", found.join("\n  "));
}

#[test]
fn a_folder_uses_only_those_below_it() {
    none(&arrows::upward(&Tree::of_the_product()));
}

#[test]
fn a_room_of_the_road_is_called_by_connection_and_rpc_only() {
    none(&arrows::sideways(&Tree::of_the_product()));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    none(&circles::circles(&Tree::of_the_product()));
}

#[test]
fn a_crate_is_named_only_where_it_belongs() {
    none(&crates::misplaced(&Tree::of_the_product()));
}

#[test]
fn the_rules_depend_on_three_crates_and_touch_nothing_outside() {
    let manifest = std::fs::read_to_string(source::root().join("rules/Cargo.toml")).unwrap();
    none(&crates::rules_manifest(&manifest));
    none(&crates::impure(&Tree::of_the_product()));
}

#[test]
fn label_values_are_never_written_at_the_use() {
    none(&crates::label_literals(&Tree::of_the_product()));
}

#[test]
fn each_file_says_what_it_does_and_what_it_never_does() {
    none(&docs::without_bound(&Tree::of_the_product()));
}

#[test]
fn sizes_stay_small() {
    let sizes = sizes::measure(&Tree::of_the_product());
    println!("{sizes}");
    none(&sizes.too_large());
}
