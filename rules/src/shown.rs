//! Texts that somebody else chose, made safe to show: cut, and escaped.
//!
//! Whoever makes a certificate chooses the names in it, a stranger too, and logs and terminals show
//! them. What is shown is printable ASCII of a bounded length: no control character, no line break,
//! no sign that turns the direction of writing round. Nothing here decides anything.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Most characters of a text that is shown. A common name has 64 at most (RFC 5280, appendix A.1).
const MOST: usize = 100;

/// Stands at the end of a text that was cut.
const CUT: &str = "...";

/// The text as it may be shown: printable ASCII, at most 100 characters. Everything else is written
/// as `\u{...}`. A text that was made so before stays as it is.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    let mut fits = 0; // so much of it leaves room for the mark
    for character in text.chars() {
        match character {
            ' '..='~' => shown.push(character),
            other => shown.extend(other.escape_unicode()),
        }
        if shown.len() > MOST {
            shown.truncate(fits);
            return shown + CUT;
        }
        if shown.len() <= MOST - CUT.len() {
            fits = shown.len();
        }
    }
    shown
}

/// The text of one or more lines with nothing in it that a terminal would obey: control characters
/// other than line break and tab, and signs that turn the direction of writing round, are written
/// as `\u{...}`.
pub fn inert(text: &str) -> Cow<'_, str> {
    match text.contains(is_obeyed) {
        false => Cow::Borrowed(text),
        true => {
            let mut shown = String::with_capacity(text.len() + 8);
            for character in text.chars() {
                match is_obeyed(character) {
                    true => shown.extend(character.escape_unicode()),
                    false => shown.push(character),
                }
            }
            Cow::Owned(shown)
        }
    }
}

/// The same for one line: line breaks and tabs are written so, too.
pub fn inert_line(text: &str) -> String {
    let (lines, tabs) = ("\\u{a}", "\\u{9}");
    inert(text).replace('\n', lines).replace('\t', tabs)
}

/// One line of printable ASCII, for Ganeti's hooks and for Nagios: white space is a space, and every
/// other character a question mark.
pub fn ascii_line(text: &str) -> String {
    let plain = |c: char| match c {
        ' '..='~' => c,
        c if c.is_whitespace() => ' ',
        _ => '?',
    };
    text.chars().map(plain).collect()
}

fn is_obeyed(character: char) -> bool {
    let turns = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}'
    );
    turns || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The common name of a certificate, as it may be shown. There is no other form of it.
///
/// ```
/// use rules::shown::CommonName;
/// assert_eq!(&*CommonName::from("node1.example.com"), "node1.example.com");
/// assert_eq!(&*CommonName::from("\u{1b}[2Jnode1"), "\\u{1b}[2Jnode1");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct CommonName(Box<str>);

impl From<&str> for CommonName {
    fn from(text: &str) -> Self {
        Self(printable(text).into())
    }
}

impl From<String> for CommonName {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl Deref for CommonName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_as_a_table() {
        let long = "n".repeat(300);
        let cut = "n".repeat(97) + "...";
        let just = "n".repeat(100);
        let escapes = "\u{1b}".repeat(90_000);
        let table = [
            ("node1.example.com", "node1.example.com"),
            ("", ""),
            ("two words, \"quoted\" \\ ~", "two words, \"quoted\" \\ ~"),
            ("a\x1b[31m\x07b", "a\\u{1b}[31m\\u{7}b"),
            ("a\r\nready: true", "a\\u{d}\\u{a}ready: true"),
            ("a\u{9b}31m\u{85}b", "a\\u{9b}31m\\u{85}b"),
            ("a\u{202e}moc.b\u{2066}", "a\\u{202e}moc.b\\u{2066}"),
            (
                "a\u{2028}b\u{200b}\u{feff}\0",
                "a\\u{2028}b\\u{200b}\\u{feff}\\u{0}",
            ),
            ("n\u{f6}de \u{5d0}", "n\\u{f6}de \\u{5d0}"),
            (&*just, &*just),
            (&*long, &*cut),
            (&*escapes, &*("\\u{1b}".repeat(16) + "...")),
        ];
        for (text, shown) in table {
            assert_eq!(printable(text), shown);
            assert_eq!(printable(shown), shown, "once more changes nothing");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_as_a_table() {
        let table = [
            ("plain, n\u{f6}de\n\tmore\n", "plain, n\u{f6}de\n\tmore\n"),
            ("a\x1b[2J\x07\r\x7fb", "a\\u{1b}[2J\\u{7}\\u{d}\\u{7f}b"),
            (
                "\u{9b}31m\u{202e}x\u{2066}",
                "\\u{9b}31m\\u{202e}x\\u{2066}",
            ),
        ];
        for (text, shown) in table {
            assert_eq!(inert(text), shown);
            assert_eq!(inert(shown), shown, "once more changes nothing");
        }
        assert_eq!(
            inert_line("a\nready:\ttrue\x1b"),
            "a\\u{a}ready:\\u{9}true\\u{1b}"
        );
    }

    #[test]
    fn a_line_of_ascii_as_a_table() {
        assert_eq!(ascii_line("n\u{f6}de\t1\x1b[2J\n"), "n?de 1?[2J ");
        assert_eq!(ascii_line("\u{a0}\u{2028}\u{202e}"), "  ?");
    }

    #[test]
    fn a_name_that_is_read_back_is_made_safe_too() {
        let name: CommonName = serde_json::from_str("\"a\\u001b\\n\"").unwrap();
        assert_eq!(&*name, "a\\u{1b}\\u{a}");
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<CommonName>(&json).unwrap(), name);
    }

    proptest! {
        #[test]
        fn every_text_becomes_short_printable_ascii(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(shown.len() <= MOST);
            prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(printable(&shown), shown);
        }
    }
}
