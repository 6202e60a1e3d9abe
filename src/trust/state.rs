//! Keeps what is known from earlier readings over restarts, in two files in the state directory.
//!
//! `last-good-map`: a first line `noded-proxy last good map, version 1, server DIGEST`, then the
//! map as Ganeti writes it. The map is bound to the digest of `server.pem`. `latch`: a first line
//! `noded-proxy latch, version 1`, then the digests of the certificates under which there was a
//! map, newest last. So neither a restart nor a `server.pem` that comes back before the map leads
//! into the bootstrap phase again, and a node that joins another cluster starts afresh. This file
//! must never take what it cannot read back for nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::node::directory::Directory;
use crate::node::files::{self, FileContent, Stamp};
use rules::admission::{LastGood, Latch, Memory};
use rules::candidates::{MAX_BYTES, MapFile, parse};

const MAP_HEAD: &str = "noded-proxy last good map, version 1, server ";
const LATCH_HEAD: &str = "noded-proxy latch, version 1";

/// The name of the last good map in the state directory.
pub(super) const MAP: &str = "last-good-map";
/// The name of the file with the digests.
pub(super) const LATCH: &str = "latch";

/// What the state directory remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remembered {
    /// What could be read back.
    pub(crate) memory: Memory,
    /// A file that cannot be read back, and why. It shows that a map was once seen, so the
    /// bootstrap phase stays closed until there is a good map again.
    pub(crate) damaged: Option<(PathBuf, String)>,
}

/// The two files.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    writes: bool,
    written: Memory,
    stamps: [Option<Stamp>; 2],
}

impl State {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            directory: dir.to_owned(),
            writes: true,
            written: Memory::default(),
            stamps: [None, None],
        }
    }

    /// From now on the files are never touched.
    pub(super) fn leave(&mut self) {
        self.writes = false;
    }

    /// Reads what was kept.
    pub(crate) fn load(&mut self) -> Remembered {
        self.stamps = self.stamps();
        let latch = files::read(&self.latch_path(), MAX_BYTES);
        let map = files::read(&self.map_path(), MAX_BYTES + 1024);
        let mut found = self.remembered(latch, map);
        self.written = match found.damaged {
            None => found.memory.clone(),
            Some(_) => Memory::default(), // to be written anew
        };
        // Before there was a latch, the map was all that was kept.
        if let Some(good) = &found.memory.last_good {
            found.memory.latch.close(good.server);
        }
        found
    }

    /// What another process remembers, by the texts of the two files.
    pub(super) fn told(&self, texts: [Option<String>; 2]) -> Remembered {
        let content = |text: Option<String>| {
            text.map_or(FileContent::Absent, |text| {
                FileContent::Content(text.into_bytes().into())
            })
        };
        let [latch, map] = texts.map(content);
        self.remembered(latch, map)
    }

    fn remembered(&self, latch: FileContent, map: FileContent) -> Remembered {
        let mut found = Remembered::default();
        let mut damaged = |path: PathBuf, why: &str| {
            found.damaged.get_or_insert_with(|| (path, why.to_owned()));
        };
        match latch {
            FileContent::Absent => {}
            FileContent::TooLarge => damaged(self.latch_path(), "it is too large"),
            FileContent::Unreadable(why) => damaged(self.latch_path(), &why),
            FileContent::Content(content) => {
                let (latch, whole) = decode_latch(&content);
                found.memory.latch = latch;
                if !whole {
                    damaged(self.latch_path(), ALIEN);
                }
            }
        }
        match map {
            FileContent::Absent => {}
            FileContent::TooLarge => damaged(self.map_path(), "it is too large"),
            FileContent::Unreadable(why) => damaged(self.map_path(), &why),
            FileContent::Content(content) => match decode_map(&content) {
                Some(good) => found.memory.last_good = Some(good),
                None => damaged(self.map_path(), ALIEN),
            },
        }
        found
    }

    /// Writes what is to be remembered. Does nothing if the files are up to date.
    pub(super) fn keep(&mut self, memory: &Memory) -> io::Result<()> {
        if !self.writes || (self.written == *memory && !self.is_touched(memory)) {
            return Ok(());
        }
        // The latch first: if the second write fails, the bootstrap phase is closed.
        let [latch, map] = contents(memory);
        self.put(LATCH, latch)?;
        self.put(MAP, map)?;
        self.written = memory.clone();
        self.stamps = self.stamps();
        Ok(())
    }

    /// Whether somebody else has changed or removed the files. In a restart another process may
    /// have written them: then they say what this one has written, or is to write.
    pub(super) fn is_touched(&mut self, memory: &Memory) -> bool {
        let stamps = self.stamps();
        if !self.writes || self.stamps == stamps {
            return false;
        }
        let is_own = self.say(&self.written);
        if is_own {
            self.stamps = stamps;
        }
        !is_own && !self.say(memory)
    }

    /// Whether the files say this.
    fn say(&self, memory: &Memory) -> bool {
        let [latch, map] = contents(memory);
        let says = |path: &Path, content: Option<String>| match (
            files::read(path, MAX_BYTES + 1024),
            content,
        ) {
            (FileContent::Content(found), Some(content)) => **found == *content.as_bytes(),
            (FileContent::Absent, None) => true,
            _ => false,
        };
        says(&self.latch_path(), latch) && says(&self.map_path(), map)
    }

    fn put(&self, name: &str, content: Option<String>) -> io::Result<()> {
        match content {
            Some(content) => files::replace(&self.directory.join(name), content.as_bytes()),
            None => Directory::open(&self.directory)?
                .remove(name.as_ref())
                .map(drop),
        }
    }

    /// The path of the last good map, for messages.
    pub(crate) fn map_path(&self) -> PathBuf {
        self.directory.join(MAP)
    }

    fn latch_path(&self) -> PathBuf {
        self.directory.join(LATCH)
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [self.latch_path(), self.map_path()].map(|path| Stamp::of(&path))
    }
}

/// What is said of a file with other content.
const ALIEN: &str = "it is not a state file of this program";

/// What the two files say; none where there is to be no file.
pub(super) fn contents(memory: &Memory) -> [Option<String>; 2] {
    let latch = (memory.latch != Latch::default()).then(|| encode_latch(&memory.latch));
    let map = memory.last_good.as_ref();
    let map = map.map(|good| format!("{MAP_HEAD}{}\n{}", good.server, good.map));
    [latch, map]
}

fn encode_latch(latch: &Latch) -> String {
    let digests = latch.iter().map(|digest| format!("{digest}\n"));
    let digests: String = digests.collect();
    format!("{LATCH_HEAD}\n{digests}")
}

/// The digests that can be read, and whether these are all.
fn decode_latch(content: &[u8]) -> (Latch, bool) {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines();
    let is_ours = lines.next() == Some(LATCH_HEAD) && text.ends_with('\n');
    let digests: Vec<_> = lines.map(|line| line.parse().ok()).collect();
    let whole = is_ours && !digests.is_empty() && digests.iter().all(Option::is_some);
    (digests.into_iter().flatten().collect(), whole)
}

fn decode_map(content: &[u8]) -> Option<LastGood> {
    let end = content.iter().position(|b| *b == b'\n')?;
    let server = std::str::from_utf8(&content[..end])
        .ok()?
        .strip_prefix(MAP_HEAD)?
        .parse()
        .ok()?;
    match parse(&content[end + 1..]) {
        MapFile::Listed(map) => Some(LastGood {
            server,
            map: Arc::new(map),
        }),
        _ => None,
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
