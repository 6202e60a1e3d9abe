//! Whether each file says what it does and what it never does. It looks for the words; people judge
//! the sense.

use super::source::Tree;

/// Words that set a bound.
const BOUNDS: [&str; 9] = [
    "never", "only", "nothing", "nobody", "no ", "not ", "none", "pure", "alone",
];

/// Every file whose doc is missing or sets no bound.
pub(crate) fn without_bound(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.0.iter().filter(|file| !file.is_test) {
        let lines = file.text.lines().take_while(|line| line.starts_with("//!"));
        let doc: String = lines.map(|line| format!("{} ", &line[3..])).collect();
        let doc = doc.to_lowercase();
        if doc.trim().is_empty() {
            found.push(format!("{}: has no doc", file.path));
        } else if !BOUNDS.iter().any(|word| doc.contains(word)) {
            found.push(format!("{}: does not say what it never does", file.path));
        }
    }
    found
}
