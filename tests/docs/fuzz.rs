//! CONTRIBUTING.md lists every fuzz target, and each is built and has a seed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::texts::Text;

/// The names in a folder, without what is behind the dot.
fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// What stands between these two in each line that has both.
fn between(text: &str, before: &str, after: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(before)?;
        Some(rest.split_once(after)?.0.to_owned())
    });
    lines.collect()
}

#[test]
fn every_fuzz_target_is_listed_built_and_has_a_seed() {
    let targets = names("fuzz/fuzz_targets");
    assert!(targets.contains("candidate_map"), "{targets:?}");
    assert_eq!(names("fuzz/seeds"), targets, "fuzz/seeds");
    let manifest = Text::read("fuzz/Cargo.toml").content;
    let (_, bins) = manifest.split_once("[[bin]]").unwrap();
    assert_eq!(between(bins, "name = \"", "\""), targets, "fuzz/Cargo.toml");
    let text = Text::read("CONTRIBUTING.md").content;
    let (_, section) = text.split_once("### Add a fuzz target").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    assert_eq!(between(section, "| `", "`"), targets, "CONTRIBUTING.md");
}
