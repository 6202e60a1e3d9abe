//! The candidate map: text of `ssconf_master_candidates_certs` to a value that cannot be wrong.
//!
//! Pure: no file, no clock. The format is Ganeti's (`lib/ssconf.py`,
//! `SimpleStore.GetMasterCandidatesCertMap`): one `KEY=DIGEST` on each line, with an opaque key.
//! The newline at the end of the file is optional. One bad line makes the whole file malformed:
//! half a file is a fault, never an update.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use crate::identity::{Digest, DigestError};
use crate::{named, serde_by_name};

/// Largest candidate map that is read, in bytes. Ganeti itself stops at 128 KiB
/// (`lib/ssconf.py`, `_MAX_SIZE`).
pub const MAX_BYTES: usize = 16 << 20;

/// Longest key of a line, in bytes. Ganeti's are UUIDs (36), or a word such as `bootstrap`.
const MAX_KEY: usize = 256;

/// The candidate map: which certificate digests belong to master candidates.
#[derive(Clone)]
pub struct CandidateMap {
    /// Sorted by digest.
    entries: Box<[Entry]>,
    /// All keys, one after the other.
    keys: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    digest: Digest,
    start: u32,
    len: u32,
}

impl CandidateMap {
    /// The key (usually the node UUID) under which a digest is listed.
    pub fn key_of(&self, digest: &Digest) -> Option<&str> {
        let at = self
            .entries
            .binary_search_by(|e| e.digest.cmp(digest))
            .ok()?;
        Some(self.key(&self.entries[at]))
    }

    /// Whether a digest is listed.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.key_of(digest).is_some()
    }

    /// Number of entries, at least one.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// All entries as (key, digest), ordered by digest.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.entries.iter().map(|e| (self.key(e), e.digest))
    }

    fn key(&self, entry: &Entry) -> &str {
        let start = entry.start as usize;
        &self.keys[start..start + entry.len as usize]
    }
}

/// Two maps are equal if they list the same candidates, in whatever order.
impl PartialEq for CandidateMap {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries() && self.iter().eq(other.iter())
    }
}

impl Eq for CandidateMap {}

impl fmt::Debug for CandidateMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Writes the map as Ganeti does: each line ends with a newline.
impl fmt::Display for CandidateMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .try_for_each(|(key, digest)| writeln!(f, "{key}={digest}"))
    }
}

/// The state of the candidate map file: six cases, which are never merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapFile {
    /// There is no such file.
    Absent,
    /// Zero bytes, or nothing but newlines.
    Empty,
    /// At least one entry, and every line is right.
    Listed(CandidateMap),
    /// It exists but cannot be read, or is not a regular file.
    Unreadable(String),
    /// Some line is wrong.
    Malformed(MapError),
    /// More than [`MAX_BYTES`].
    TooLarge,
}

impl MapFile {
    /// Which of the six it is.
    pub fn state(&self) -> MapState {
        match self {
            Self::Absent => MapState::Absent,
            Self::Empty => MapState::Empty,
            Self::Listed(_) => MapState::Listed,
            Self::Unreadable(_) => MapState::Unreadable,
            Self::Malformed(_) => MapState::Malformed,
            Self::TooLarge => MapState::TooLarge,
        }
    }
}

// The label of `noded_proxy_candidate_map_state`.
named! {
    /// The cases of [`MapFile`], without what was found.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum MapState {
        /// [`MapFile::Absent`].
        Absent = "absent",
        /// [`MapFile::Empty`].
        Empty = "empty",
        /// [`MapFile::Listed`].
        Listed = "listed",
        /// [`MapFile::Unreadable`].
        Unreadable = "unreadable",
        /// [`MapFile::Malformed`].
        Malformed = "malformed",
        /// [`MapFile::TooLarge`].
        TooLarge = "too_large",
    }
}

serde_by_name!(MapState);

impl fmt::Display for MapFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the file is absent"),
            Self::Empty => f.write_str("the file is empty"),
            Self::Listed(map) if map.entries() == 1 => f.write_str("1 candidate"),
            Self::Listed(map) => write!(f, "{} candidates", map.entries()),
            Self::Unreadable(why) => write!(f, "the file cannot be read: {why}"),
            Self::Malformed(error) => error.fmt(f),
            Self::TooLarge => write!(f, "the file has more than {MAX_BYTES} bytes"),
        }
    }
}

/// The first fault of a malformed map, with its line (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct MapError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What can be wrong with one line of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Bytes that are not UTF-8, or control characters.
    #[error("bytes that are not printable text")]
    NotText,
    /// A blank line before another line, with which noded refuses everybody.
    #[error("blank line")]
    Blank,
    /// No `=`, or more than one.
    #[error("expected exactly one '=' (KEY=DIGEST)")]
    NotAPair,
    /// The key before the `=` is empty or too long.
    #[error("the key before '=' is empty or longer than 256 bytes")]
    Key,
    /// The digest is not in Ganeti's form.
    #[error("digest: {0}")]
    Digest(DigestError),
    /// The same key stands above with another digest.
    #[error("the key stands in the file twice with different digests")]
    Repeated,
}

/// Reads the text of a candidate map.
///
/// Never panics, whatever the bytes; returns [`MapFile::Empty`], [`MapFile::Listed`],
/// [`MapFile::Malformed`] or [`MapFile::TooLarge`].
pub fn parse(text: &[u8]) -> MapFile {
    if text.len() > MAX_BYTES {
        return MapFile::TooLarge;
    }
    // Newlines at the end are ignored, as by Ganeti's reader (lib/ssconf.py, _ReadFile).
    let body = text
        .iter()
        .rposition(|b| *b != b'\n')
        .map_or(&[][..], |last| &text[..=last]);
    if body.is_empty() {
        return MapFile::Empty;
    }
    match parse_lines(body) {
        Ok(map) => MapFile::Listed(map),
        Err(error) => MapFile::Malformed(error),
    }
}

fn parse_lines(body: &[u8]) -> Result<CandidateMap, MapError> {
    let mut entries = Vec::with_capacity(body.len() / 90 + 1);
    let mut keys = String::with_capacity(body.len() / 2);
    for (at, line) in body.split(|b| *b == b'\n').enumerate() {
        let (key, digest) = parse_line(line).map_err(|fault| MapError {
            line: at + 1,
            fault,
        })?;
        let (start, len) = (keys.len() as u32, key.len() as u32);
        keys.push_str(key);
        entries.push(Entry { digest, start, len });
    }
    refuse_repeated_keys(&entries, &keys)?;
    entries.sort_unstable();
    entries.dedup_by_key(|e| e.digest); // two keys for one certificate: the first stays
    // Stores the keys in the order of the entries: memory is faster when it is read in order.
    let mut sorted = String::with_capacity(keys.len());
    for entry in &mut entries {
        let key = &keys[entry.start as usize..(entry.start + entry.len) as usize];
        entry.start = sorted.len() as u32;
        sorted.push_str(key);
    }
    Ok(CandidateMap {
        entries: entries.into(),
        keys: sorted.into(),
    })
}

/// Control characters, and the two line separators outside ASCII: Ganeti reads lines with Python's
/// `str.splitlines` (`lib/ssconf.py`), which ends a line at each of these.
fn ends_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn parse_line(line: &[u8]) -> Result<(&str, Digest), LineFault> {
    if line.is_empty() {
        return Err(LineFault::Blank);
    }
    let line = std::str::from_utf8(line).map_err(|_| LineFault::NotText)?;
    // A loop without a branch is several times faster. Only text that is not plain ASCII is checked
    // by characters.
    let odd = |odd, b: &u8| odd | !(b' '..=b'~').contains(b);
    if line.as_bytes().iter().fold(false, odd) && line.chars().any(ends_a_line) {
        return Err(LineFault::NotText);
    }
    let (key, digest) = line.split_once('=').ok_or(LineFault::NotAPair)?;
    if digest.contains('=') {
        return Err(LineFault::NotAPair);
    }
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(LineFault::Key);
    }
    Ok((key, digest.parse().map_err(LineFault::Digest)?))
}

/// Ganeti writes the map from a dictionary, so a key that comes twice means a torn file.
fn refuse_repeated_keys(entries: &[Entry], keys: &str) -> Result<(), MapError> {
    let key = |entry: &Entry| &keys[entry.start as usize..(entry.start + entry.len) as usize];
    let hasher = RandomState::new();
    let mut hashes: Vec<u64> = entries.iter().map(|e| hasher.hash_one(key(e))).collect();
    hashes.sort_unstable();
    if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
        return Ok(()); // nearly always, and faster than the search below
    }
    let mut seen = HashMap::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        if *seen.entry(key(entry)).or_insert(entry.digest) != entry.digest {
            return Err(MapError {
                line: at + 1,
                fault: LineFault::Repeated,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
