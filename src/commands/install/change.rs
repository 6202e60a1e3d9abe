//! The change of `NODED_ARGS` in the file that sets it, and the way back. Pure.
//!
//! It replaces the bytes of one value, or adds one line; no other byte is touched. It refuses what
//! it is not sure of.

use serde::{Deserialize, Serialize};

use crate::commands::noded_args::NAME;
use crate::commands::shell;

/// What was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Was {
    /// This value, with its quotes.
    Value(Vec<u8>),
    /// None: these bytes were added at the end.
    Nothing(Vec<u8>),
}

/// The value that is set now; nothing if none is. Or why it cannot be changed safely.
pub(super) fn value(content: &[u8]) -> Result<String, String> {
    let scan = shell::scan(content, NAME);
    match scan.doubts.first() {
        Some(why) => Err((*why).into()),
        None => Ok(scan.last.map(|last| last.value).unwrap_or_default()),
    }
}

/// Whether the assignment that counts begins with `export`.
pub(super) fn is_exported(content: &[u8]) -> bool {
    let last = shell::scan(content, NAME).last;
    last.is_some_and(|last| last.exported)
}

/// Sets the value.
pub(super) fn set(content: &[u8], value: &str) -> Result<(Vec<u8>, Was), String> {
    let scan = shell::scan(content, NAME);
    if let Some(why) = scan.doubts.first() {
        return Err((*why).into());
    }
    let word = format!("\"{value}\"").into_bytes();
    if let Some(last) = scan.last {
        let was = Was::Value(content[last.place.clone()].to_vec());
        return Ok((splice(content, last.place, &word), was));
    }
    let begin = if content.is_empty() || content.ends_with(b"\n") {
        ""
    } else {
        "\n"
    };
    let line = [begin.as_bytes(), NAME.as_bytes(), b"=", &word, b"\n"].concat();
    let content = [content, &line].concat();
    // A backslash, with or without the end of its line, takes the new line for its own.
    if self::value(&content).as_deref() != Ok(value) {
        return Err("it ends in the middle of a line".into());
    }
    Ok((content, Was::Nothing(line)))
}

/// Sets the value that was there before, whatever else has been changed since.
pub(super) fn back(content: &[u8], was: &Was) -> Result<Vec<u8>, String> {
    let scan = shell::scan(content, NAME);
    if let Some(why) = scan.doubts.first() {
        return Err((*why).into());
    }
    let Some(last) = scan.last else {
        return Ok(content.to_vec());
    };
    let line = match was {
        Was::Value(word) => return Ok(splice(content, last.place, word)),
        Was::Nothing(line) => line,
    };
    if let Some(rest) = content.strip_suffix(&line[..]) {
        return Ok(rest.to_vec());
    }
    let start = last.place.start - NAME.len() - 1;
    let alone = start == 0 || content[start - 1] == b'\n';
    match content.get(last.place.end) {
        Some(b'\n') if alone => Ok(splice(content, start..last.place.end + 1, b"")),
        _ => Ok(splice(content, last.place, b"")),
    }
}

fn splice(content: &[u8], place: std::ops::Range<usize>, with: &[u8]) -> Vec<u8> {
    [&content[..place.start], with, &content[place.end..]].concat()
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
