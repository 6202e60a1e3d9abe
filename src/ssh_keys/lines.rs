//! A file of authorized keys without some of them: every other byte stays as it is, and so does every
//! line with options in front. It reads and writes no file.

use std::collections::BTreeSet;

use crate::node::ssh::authorized;
use rules::ssh_keys::Fingerprint;

/// The rest, and the lines that are gone.
pub(super) fn without(content: &[u8], keys: &BTreeSet<Fingerprint>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let goes = |text: &str| text.parse().is_ok_and(|key| keys.contains(&key));
    let parsed = authorized::parse(content);
    let lines = parsed.keys.iter().filter(|one| one.options.is_empty());
    let gone: BTreeSet<usize> = lines
        .filter(|one| goes(&one.key.fingerprint))
        .map(|one| one.line)
        .collect();
    let (mut rest, mut removed) = (Vec::with_capacity(content.len()), Vec::new());
    for (at, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match gone.contains(&(at + 1)) {
            true => removed.push(line.to_vec()),
            false => rest.extend_from_slice(line),
        }
    }
    (rest, removed)
}

/// The content with these lines at its end, as far as they are not in it.
pub(super) fn with(content: &[u8], lines: &[Vec<u8>]) -> Vec<u8> {
    let plain = |line: &[u8]| line.trim_ascii_end().to_vec();
    let there: BTreeSet<Vec<u8>> = content.split(|byte| *byte == b'\n').map(plain).collect();
    let mut whole = content.to_vec();
    for line in lines.iter().filter(|line| !there.contains(&plain(line))) {
        if whole.last().is_some_and(|byte| *byte != b'\n') {
            whole.push(b'\n');
        }
        whole.extend_from_slice(line);
    }
    whole
}

/// The content without these very lines.
pub(super) fn dropped(content: &[u8], lines: &[Vec<u8>]) -> Vec<u8> {
    let all = content.split_inclusive(|byte| *byte == b'\n');
    let goes = |line: &&[u8]| {
        lines
            .iter()
            .any(|one| one.trim_ascii_end() == line.trim_ascii_end())
    };
    all.filter(|line| !goes(line)).collect::<Vec<_>>().concat()
}

/// Whether this key opens the door by itself: it stands there without options.
pub(super) fn opens(content: &[u8], key: &Fingerprint) -> bool {
    let parsed = authorized::parse(content);
    let mut plain = parsed.keys.iter().filter(|one| one.options.is_empty());
    plain.any(|one| one.key.fingerprint == key.to_string())
}

#[cfg(test)]
#[path = "lines_tests.rs"]
pub(super) mod tests;
