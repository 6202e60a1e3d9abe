//! The assignments in a file that a shell reads, with their places in it.
//!
//! It never runs a shell. What it is not sure of it says (`doubts`): a reader may live with that, a
//! writer must not.

use std::ops::Range;

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The bytes of its value, with their quotes.
    pub(crate) place: Range<usize>,
    /// The value as the shell has it.
    pub(crate) value: String,
    /// Whether it begins with `export`, which systemd does not know.
    pub(crate) exported: bool,
}

/// What was found of one variable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The last assignment, which counts.
    pub(crate) last: Option<Assignment>,
    /// Why the shell may see it differently.
    pub(crate) doubts: Vec<&'static str>,
}

/// Looks for the assignments of a variable.
pub(crate) fn scan(text: &[u8], name: &str) -> Scan {
    let mut scanner = Scanner {
        text,
        name: name.as_bytes(),
        at: 0,
        scan: Scan::default(),
    };
    while let Some(next) = scanner.peek() {
        match next {
            b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' => scanner.at += 1,
            _ => scanner.command(),
        }
    }
    scanner.scan
}

/// Words after which a command begins.
const BEFORE_A_COMMAND: [&[u8]; 9] = [
    b"export", b"then", b"do", b"else", b"{", b"!", b"if", b"while", b"until",
];

struct Scanner<'a> {
    text: &'a [u8],
    name: &'a [u8],
    at: usize,
    scan: Scan,
}

struct Word {
    place: Range<usize>,
    text: Vec<u8>,
}

impl Scanner<'_> {
    /// The next byte, behind continued lines.
    fn peek(&mut self) -> Option<u8> {
        while self.text[self.at..].starts_with(b"\\\n") {
            self.at += 2;
        }
        self.text.get(self.at).copied()
    }

    fn doubt(&mut self, why: &'static str) {
        if !self.scan.doubts.contains(&why) {
            self.scan.doubts.push(why);
        }
    }

    /// One command, up to what ends it.
    fn command(&mut self) {
        let mut words = Vec::new();
        let end = loop {
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b'(' | b')') => break self.peek(),
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'#') => self.comment(),
                Some(b'<' | b'>') => {
                    if self.text[self.at..].starts_with(b"<<") {
                        self.doubt("there is a here-document in it (<<)");
                    }
                    self.at += 1;
                }
                Some(_) => words.push(self.word()),
            }
        };
        self.judge(&words, end);
    }

    fn comment(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        self.at += length.unwrap_or(rest.len());
    }

    fn word(&mut self) -> Word {
        let (start, mut text, mut quote) = (self.at, Vec::new(), None);
        while let Some(&next) = self.text.get(self.at) {
            let after = self.text.get(self.at + 1).copied();
            match (next, quote) {
                (b'\'' | b'"', None) => quote = Some(next),
                (next, Some(begun)) if next == begun => quote = None,
                (b'\\', None | Some(b'"')) if after == Some(b'\n') => self.at += 1,
                (b'\\', None) => {
                    text.extend(after);
                    self.at += 1;
                }
                (b'\\', Some(b'"')) => {
                    match after {
                        Some(b'"' | b'\\' | b'$' | b'`') => {}
                        _ => text.push(next),
                    }
                    text.extend(after);
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')', None) => {
                    break;
                }
                _ => text.push(next),
            }
            self.at += 1;
        }
        self.at = self.at.min(self.text.len());
        if quote.is_some() {
            self.doubt("a quote in it is not closed");
        }
        let place = start..self.at;
        Word { place, text }
    }

    fn judge(&mut self, words: &[Word], end: Option<u8>) {
        let first = |word: &&Word| BEFORE_A_COMMAND.contains(&&*word.text);
        let skipped = words.iter().take_while(first).count();
        let exported = words[..skipped].iter().any(|word| word.text == b"export");
        let rest = &words[skipped..];
        let assigned = rest.iter().take_while(|word| self.assigns(word)).count();
        for (index, word) in rest.iter().enumerate() {
            match self.value(word).filter(|_| index < assigned) {
                Some(place) => self.take(place, exported),
                None if self.uses(word, index < assigned) => {
                    self.doubt("it is used in it otherwise than in a plain assignment");
                }
                None => continue,
            }
            if assigned < rest.len() {
                self.doubt("it is set for one command alone: quotes are missing around its value");
            }
            if matches!(end, Some(b'&' | b'|' | b'(')) {
                self.doubt("its assignment is part of a longer command");
            }
        }
    }

    /// Whether a word is an assignment of any variable.
    fn assigns(&self, word: &Word) -> bool {
        let raw = &self.text[word.place.clone()];
        let length = raw.iter().take_while(|byte| is_name(**byte)).count();
        length > 0 && !raw[0].is_ascii_digit() && raw.get(length) == Some(&b'=')
    }

    /// The place of the value, if the word assigns our variable.
    fn value(&self, word: &Word) -> Option<Range<usize>> {
        let raw = &self.text[word.place.clone()];
        raw.strip_prefix(self.name)?.strip_prefix(b"=")?;
        Some(word.place.start + self.name.len() + 1..word.place.end)
    }

    /// Whether a word uses our variable: as `$NAME`, or in any way as a word of a command.
    fn uses(&self, word: &Word, is_assignment: bool) -> bool {
        let raw = &self.text[word.place.clone()];
        self.mentions(raw) && (!is_assignment || raw.contains(&b'$'))
    }

    fn take(&mut self, place: Range<usize>, exported: bool) {
        let raw = &self.text[place.clone()];
        if self.mentions(raw) || raw.contains(&b'$') || raw.contains(&b'`') {
            self.doubt("its value has a `$` or a backquote");
        }
        let mut inner = Scanner {
            text: raw,
            name: self.name,
            at: 0,
            scan: Scan::default(),
        };
        let value = inner.word().text;
        self.scan.last = Some(Assignment {
            place,
            value: String::from_utf8_lossy(&value).into_owned(),
            exported,
        });
    }

    /// Whether the variable's name stands somewhere in these bytes.
    fn mentions(&self, raw: &[u8]) -> bool {
        let mut windows = raw.windows(self.name.len()).enumerate();
        windows.any(|(at, window)| {
            let before = at.checked_sub(1).and_then(|at| raw.get(at));
            let after = raw.get(at + self.name.len());
            let apart = |byte: Option<&u8>| byte.is_none_or(|byte| !is_name(*byte));
            window == self.name && apart(before) && apart(after)
        })
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_reads_as_a_table() {
        let table = [
            ("", None, false),
            ("A=\"\"\n", Some(""), false),
            ("A=1\nA='2 3'  # last\n#A=4\n", Some("2 3"), false),
            ("  export A=\"-d\"", Some("-d"), false),
            ("A=\"1 \\\n 2\"; true", Some("1  2"), false),
            ("A=1\\ 2'3 '\"4\\\"\"\n", Some("1 23 4\""), false),
            ("B='\nA=0\n'\nA=1\n", Some("1"), false),
            ("EXTRA_A=1\n", None, false),
            ("# it's\nA=1", Some("1"), false),
            ("A=\"x\"\r\n", Some("x\r"), false),
            ("A=-b 127.0.0.1\n", Some("-b"), true),
            ("A+=1\n", None, true),
            ("A=1\nunset A\n", Some("1"), true),
            ("A=1\nB=\"$A 2\"\n", Some("1"), true),
            (": ${A:=1}\n", None, true),
            ("A=$B\n", Some("$B"), true),
            ("A=(1 2)\n", Some(""), true),
            ("A=1 | cat\n", Some("1"), true),
            ("A=1\nB='", Some("1"), true),
            ("cat <<E\nA=1\nE\n", Some("1"), true),
        ];
        for (text, value, doubtful) in table {
            let scan = scan(text.as_bytes(), "A");
            assert_eq!(scan.last.as_ref().map(|a| &*a.value), value, "{text:?}");
            assert_eq!(!scan.doubts.is_empty(), doubtful, "{text:?}: {scan:?}");
        }
    }

    #[test]
    fn the_place_is_that_of_the_value_with_its_quotes() {
        let text = b"X=1\nexport A='-d'\n";
        let found = scan(text, "A").last.unwrap();
        assert_eq!(&text[found.place], b"'-d'");
        assert!(found.exported);
    }
}
