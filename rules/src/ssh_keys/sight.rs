//! What one node says of its keys, as it goes over the wire. The node may be hostile: every text in
//! it is shown escaped, and what it says proves something about its own keys alone.

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use super::pairs::list::{List, Pair};
use crate::verify::observed::{Observed, Purpose, Seen};

/// The form of the document.
pub const VERSION: u32 = 2;
/// The names of the pairs that Ganeti makes.
const OWN: [&str; 3] = ["id_rsa", "id_dsa", "id_ecdsa"];
/// What Ganeti puts behind the name of a file that it replaces.
const BACKUP: &str = ".backup-";
/// Lines that are believed in one document; renewals leave one for each candidate.
const MOST_LINES: usize = 10_000;
/// Files that are: as many as are read of root's directory.
const MOST_FILES: usize = 1_000;

/// The keys of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sight {
    /// [`VERSION`].
    pub version: u32,
    /// Authorized keys.
    pub lines: Vec<Line>,
    /// Files with keys in root's directory.
    pub files: Vec<KeyFile>,
    /// What could not be read: such a node is left alone.
    pub faults: Vec<String>,
    /// Private keys whose public half cannot be read.
    pub unknown: usize,
    /// What it was told of all pairs.
    pub list: Option<List>,
    /// A pair that was made here and waits to be used.
    pub staged: Option<Pair>,
    /// A change of its files is neither proven nor undone: it may be undone in a while.
    pub unsettled: bool,
}

/// An authorized key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The file.
    pub path: String,
    /// Number of the line, from 1.
    pub number: usize,
    /// The key.
    pub key: Fingerprint,
    /// The comment behind it.
    pub comment: String,
    /// Whether options stand in front of it.
    pub options: bool,
}

/// A file with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Its name in root's directory.
    pub name: String,
    /// Whether it holds the private half.
    pub private: bool,
    /// The key.
    pub key: Fingerprint,
    /// When it was changed, seconds since 1970.
    pub modified: i64,
    /// Whether it belongs to root.
    pub of_root: bool,
    /// The master's challenge, signed with it.
    pub signature: Option<String>,
    /// Whether that was a good one: the node holds the key. No node can say so itself.
    #[serde(skip)]
    pub proven: bool,
}

impl KeyFile {
    /// Whether it is root's, with the name that Ganeti gives to a pair that it replaces. Another
    /// file's name may look like it: a copy of `authorized_keys` proves nothing.
    pub fn is_backup(&self) -> bool {
        self.of_root && is_backup(&self.name)
    }

    /// Whether it is this node's own pair, by its name.
    pub fn is_own(&self) -> bool {
        self.private && OWN.contains(&self.name.as_str())
    }
}

/// The name of such a file. It is then one that is safe to give to the system.
pub fn is_backup(name: &str) -> bool {
    let of = name.split_once(BACKUP);
    of.is_some_and(|(of, rest)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-:".contains(&b);
        OWN.contains(&of.strip_suffix(".pub").unwrap_or(of)) && rest.bytes().all(plain)
    })
}

impl Sight {
    /// What of a look at a node is told.
    pub fn of(seen: &Observed) -> Self {
        let mut sight = Self {
            version: VERSION,
            faults: seen.forbidden.clone(),
            ..Self::default()
        };
        for file in &seen.ssh.authorized {
            match &file.lines {
                Seen::Absent => {}
                Seen::Faulty(why) => sight.faults.push(format!("{}: {why}", file.path)),
                Seen::Good(lines) => sight.lines.extend(lines.keys.iter().filter_map(|one| {
                    Some(Line {
                        path: file.path.clone(),
                        number: one.line,
                        key: one.key.fingerprint.parse().ok()?,
                        comment: one.key.comment.clone(),
                        options: !one.options.is_empty(),
                    })
                })),
            }
        }
        for file in &seen.ssh.key_files {
            match file.key.good().and_then(|key| key.fingerprint.parse().ok()) {
                Some(key) => sight.files.push(KeyFile {
                    name: file.name.clone(),
                    private: file.private,
                    key,
                    modified: modified(seen, &file.path),
                    of_root: file.of_root,
                    signature: None,
                    proven: false,
                }),
                None => sight.unknown += usize::from(file.private),
            }
        }
        sight
    }

    /// Why it cannot be believed, if it cannot.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self { version, .. } if *version != VERSION => {
                Some("its noded-proxy speaks another version of this")
            }
            Self { lines, files, .. } if lines.len() > MOST_LINES || files.len() > MOST_FILES => {
                Some("it has too many keys")
            }
            Self {
                list: Some(list), ..
            } if list.fault().is_some() => list.fault(),
            Self {
                staged: Some(pair), ..
            } if !pair.is_plain() => Some("the pair that waits there is none"),
            Self { faults, .. } => faults.first().map(String::as_str),
        }
    }
}

/// Only private files have a time; of the others it is not needed.
fn modified(seen: &Observed, path: &str) -> i64 {
    let mut keys = seen.files.iter().filter(|f| f.purpose == Purpose::RootKey);
    let found = keys.find(|file| file.path == path);
    found.map_or(seen.at, |file| file.modified)
}
