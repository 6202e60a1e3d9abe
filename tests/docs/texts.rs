//! The texts that are tested. They are read from the repository; nothing is ever written there.

use std::path::{Path, PathBuf};

use crate::blocks::{Block, blocks};

/// Top of the repository.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One Markdown file.
pub(crate) struct Text {
    /// Its path in the repository.
    pub(crate) name: String,
    pub(crate) content: String,
}

impl Text {
    pub(crate) fn of(name: &str, content: &str) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
        }
    }

    pub(crate) fn read(name: &str) -> Self {
        let content = std::fs::read_to_string(Path::new(ROOT).join(name));
        Self::of(
            name,
            &content.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    }

    /// Its shell blocks; a fault of the text is a failed test.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        blocks(&self.content)
            .unwrap_or_else(|faults| panic!("{}: {}", self.name, faults.join("\n")))
    }
}

/// README first, then what is in `docs/`, then the rest of the top level.
pub(crate) fn all() -> Vec<Text> {
    let mut names = vec!["README.md".to_owned()];
    names.extend(markdown_in("docs"));
    names.extend(["CONTRIBUTING.md".into(), "SECURITY.md".into()]);
    names.iter().map(|name| Text::read(name)).collect()
}

/// Texts whose links are tested beside these.
pub(crate) fn others() -> Vec<Text> {
    let names = ["CHANGELOG.md", "tests/lab/README.md"].map(String::from);
    names
        .into_iter()
        .chain(markdown_in("benches"))
        .map(|name| Text::read(&name))
        .collect()
}

fn markdown_in(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == "md") => {
                    names.push(path.to_str().unwrap().to_owned());
                }
                false => {}
            }
        }
    }
    names.sort();
    names
}
