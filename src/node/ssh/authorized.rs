//! `authorized_keys`, line by line in the way of sshd (`auth2-pubkeyfile.c`, OpenSSH 9): a key, or
//! options and a key. What does not read so is kept as a bad line, so that no key is overlooked.

use rules::verify::observed::{Authorized, AuthorizedLines, BadLine, PublicKey};

use super::MOST_BAD_LINES;
use super::keys::public;

/// Reads all lines. Never panics, whatever the bytes.
pub fn parse(content: &[u8]) -> AuthorizedLines {
    let text = String::from_utf8_lossy(content);
    let mut lines = AuthorizedLines::default();
    for (at, line) in text.split('\n').enumerate() {
        let (number, line) = (at + 1, line.trim_start_matches(BLANKS).trim_end());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match one(line) {
            Ok((options, key)) => lines.keys.push(Authorized {
                line: number,
                options,
                key,
            }),
            Err(why) if lines.bad_lines.len() < MOST_BAD_LINES => lines.bad_lines.push(BadLine {
                line: number,
                why: why.to_owned(),
            }),
            Err(_) => {}
        }
    }
    lines
}

const BLANKS: [char; 2] = [' ', '\t'];

/// sshd tries the line as a key first, then what follows the options.
fn one(line: &str) -> Result<(Vec<String>, PublicKey), &'static str> {
    if let Some(key) = key(line) {
        return Ok((Vec::new(), key));
    }
    let (options, rest) = after_options(line).ok_or("a quotation mark is not closed")?;
    let key = key(rest.trim_start_matches(BLANKS)).ok_or("there is no key in it")?;
    Ok((options, key))
}

fn key(text: &str) -> Option<PublicKey> {
    let (kind, rest) = text.split_once(BLANKS)?;
    let rest = rest.trim_start_matches(BLANKS);
    let (blob, comment) = rest.split_once(BLANKS).unwrap_or((rest, ""));
    public(kind, blob, comment)
}

/// The options in front, and the rest of the line. A blank or a comma inside quotation marks
/// belongs to the option; `\"` inside them is no end.
fn after_options(line: &str) -> Option<(Vec<String>, &str)> {
    let (mut options, mut from, mut quoted, mut end) = (Vec::new(), 0, false, line.len());
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => {
                options.push(line[from..at].to_owned());
                from = at + 1;
            }
            ' ' | '\t' if !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    options.push(line[from..end].to_owned());
    (!quoted).then_some((options, &line[end..]))
}

#[cfg(test)]
#[path = "authorized_tests.rs"]
pub(super) mod tests;
