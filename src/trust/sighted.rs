//! Keeps over restarts which certificate was seen from which node: a file in the state directory.
//!
//! The first line is `noded-proxy sightings, version 1`; then there is one JSON object for each
//! certificate of the candidate map, the one that was seen last first. It is written when one was
//! seen from one more node or has left the map, and not for times and counts. It never admits or
//! refuses anybody, so lines that cannot be read are left out, and a damaged file is written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::fault::Fault;
use super::now;
use super::sightings::{All, MOST, MOST_NODES, Sighting, Sightings};
use crate::node::files::{self, FileContent};
use rules::admission::Admission;
use rules::authz::Mode;
use rules::identity::Digest;

/// The file's name in the state directory.
pub(super) const NAME: &str = "sightings";

const HEAD: &str = "noded-proxy sightings, version 1";

/// Largest file that is read or written. A certificate of one node takes 200 bytes.
const MAX_BYTES: usize = 4 << 20;

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    digest: Digest,
    #[serde(flatten)]
    seen: Sighting,
}

/// The file.
#[derive(Debug)]
pub(super) struct SightingsFile {
    path: PathBuf,
    writes: bool,
    /// Whether there should be such a file.
    is_kept: bool,
    /// Whether it does not say yet what it should.
    unsaved: bool,
    /// Why it could not be written.
    trouble: Option<Fault>,
}

impl SightingsFile {
    /// Reads what was kept. With `writes` false there is nothing to be read or written.
    pub(super) fn load(state_dir: &Path, writes: bool, sightings: &Sightings) -> Self {
        let mut file = Self {
            path: state_dir.join(NAME),
            writes,
            is_kept: false,
            unsaved: false,
            trouble: None,
        };
        let why = match writes.then(|| files::read(&file.path, MAX_BYTES)) {
            None | Some(FileContent::Absent) => return file,
            Some(FileContent::TooLarge) => "it is too large".into(),
            Some(FileContent::Unreadable(why)) => why,
            Some(FileContent::Content(content)) => {
                let (all, left_out) = decode(&content, now().max(0) as u64);
                sightings.restore(all);
                file.is_kept = true;
                match left_out {
                    0 => return file,
                    lines => format!("lines that are none of this program's: {lines}"),
                }
            }
        };
        warn!(file = %file.path.display(), why,
            "sightings of earlier runs are left out, and the file is written anew");
        file.unsaved = true;
        file
    }

    /// Writes all there is, times and counts too, and never touches the file again.
    pub(super) fn leave(&mut self, sightings: &Sightings, admission: &Admission, mode: Mode) {
        self.unsaved = true;
        self.keep(sightings, admission, mode);
        (self.writes, self.trouble) = (false, None);
    }

    /// What was wrong when it was written last.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.trouble.clone()
    }

    /// Forgets what has left the map, and writes the file if there is news, if somebody removed it,
    /// or if it could not be written before.
    pub(super) fn keep(&mut self, sightings: &Sightings, admission: &Admission, mode: Mode) {
        let stays = |digest: &Digest| match admission {
            Admission::Listed(map) => map.contains(digest),
            Admission::Bootstrap(_) | Admission::Nobody(_) => true, // nothing tells who has left
        };
        if mode == Mode::Enforce {
            sightings.retain(stays); // in audit mode others call, too
        }
        let is_gone = || self.is_kept && self.path.symlink_metadata().is_err();
        if !self.writes || !(sightings.take_unwritten() || self.unsaved || is_gone()) {
            return;
        }
        let mut all = sightings.all();
        all.retain(|digest, _| stays(digest));
        let written = files::replace(&self.path, encode(all).as_bytes());
        (self.is_kept, self.unsaved) = (true, written.is_err());
        let error = written.err();
        self.trouble = error.map(|error| Fault::unwritable(&self.path, &error));
    }
}

fn encode(all: All) -> String {
    let lines = all.into_iter().map(|(digest, seen)| Line { digest, seen });
    let mut lines: Vec<Line> = lines.collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.seen.last_seen));
    let mut text = format!("{HEAD}\n");
    for line in lines {
        let Ok(line) = serde_json::to_string(&line) else {
            continue;
        };
        if text.len() + line.len() >= MAX_BYTES {
            break;
        }
        text += &line;
        text.push('\n');
    }
    text
}

/// What can be read, and how many lines cannot. Nothing was seen later than `now`.
fn decode(content: &[u8], now: u64) -> (All, usize) {
    let mut lines = content.split(|byte| *byte == b'\n');
    if lines.next() != Some(HEAD.as_bytes()) {
        return (BTreeMap::new(), 1);
    }
    let (mut all, mut left_out) = (BTreeMap::new(), 0);
    for line in lines.filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Line>(line) {
            Ok(mut line) if is_sound(&line.seen) && all.len() < MOST => {
                line.seen.last_seen = line.seen.last_seen.min(now);
                all.insert(line.digest, line.seen);
            }
            _ => left_out += 1,
        }
    }
    (all, left_out)
}

/// Whether the names may be shown: logs and terminals do.
fn is_sound(seen: &Sighting) -> bool {
    let graphic = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    let is_name = |name: &str| (1..=255).contains(&name.len()) && graphic(name);
    seen.nodes.len() <= MOST_NODES && seen.nodes.iter().all(|name| is_name(name))
}

#[cfg(test)]
#[path = "sighted_tests.rs"]
mod tests;
