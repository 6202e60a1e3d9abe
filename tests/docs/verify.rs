//! docs/verify.md has every finding, in the order of the closed list, with the words of the program.

use rules::Named;
use rules::verify::{Id, Severity};

use crate::texts::Text;

/// The row of a finding.
fn row(id: Id) -> String {
    let severity = match id.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (what, why, remedy) = (id.what(), id.why(), id.remedy());
    format!(
        "| `{}` | {severity} | {what} | {why} | {remedy} |",
        id.name()
    )
}

/// The rows that a text has, and those that it should have.
fn rows(text: &str) -> (Vec<&str>, Vec<String>) {
    let found = text.lines().filter(|line| line.starts_with("| `"));
    let found = found.filter(|line| line.matches(" | ").count() == 4);
    (found.collect(), Id::all().map(row).collect())
}

#[test]
fn every_finding_of_verify_stands_in_the_table_with_its_words() {
    let text = Text::read("docs/verify.md");
    let (found, expected) = rows(&text.content);
    assert_eq!(found, expected, "it should be:\n{}", expected.join("\n"));
}

#[test]
fn a_lost_row_is_noticed() {
    let mut text: Vec<String> = Id::all().map(row).collect();
    text.swap_remove(3);
    let text = text.join("\n");
    let (found, expected) = rows(&text);
    assert_ne!(found, expected);
}
