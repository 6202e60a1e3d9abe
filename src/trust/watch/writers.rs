//! Which files somebody is writing in place. A map that is cut at the end of a line looks whole, so
//! such a file is read when its writer has closed it, or after a while.
//!
//! It reads no clock and no file. It never holds a file back for longer than the while.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A file is read this long after the first write to it at the latest, closed or not.
const AT_MOST: Duration = Duration::from_secs(2);

/// What inotify tells of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Somebody has begun to write the file, or goes on.
    Writing(PathBuf),
    /// Who wrote the file has closed it.
    Written(PathBuf),
    /// Its mode, owner or time changed.
    Touched(PathBuf),
    /// Another file or directory is there now, or none.
    Replaced(PathBuf),
    /// Something was missed.
    Unknown,
}

/// The files that are being written, each with the time at which it is read all the same.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeMap<PathBuf, Instant>);

impl Writers {
    /// Notes a change. Returns whether the files are to be read.
    pub(super) fn note(&mut self, change: Change, now: Instant) -> bool {
        match change {
            Change::Writing(path) => {
                self.0.entry(path).or_insert(now + AT_MOST);
                false
            }
            Change::Touched(path) => !self.0.contains_key(&path),
            Change::Written(path) => {
                self.0.remove(&path);
                true
            }
            Change::Replaced(path) => {
                self.0.retain(|other, _| !other.starts_with(&path));
                true
            }
            Change::Unknown => true,
        }
    }

    /// When the next file is read though nobody has closed it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Lets go of the files whose time is over. Returns whether there were any.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, end| *end > now);
        self.0.len() < before
    }

    /// The files that are being written.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Replaced, Touched, Unknown, Writing, Written};

    #[test]
    fn a_file_is_held_until_it_is_closed_or_replaced_or_its_time_is_over() {
        let (start, path) = (Instant::now(), || PathBuf::from("/d/map"));
        let at = |ms| start + Duration::from_millis(ms);
        // change, time, whether to read, whether it is held then
        let table = [
            (Touched(path()), 0, true, false),
            (Writing(path()), 1, false, true),
            (Writing("/d/other".into()), 1, false, true),
            (Touched(path()), 2, false, true),
            (Writing(path()), 1_900, false, true),
            (Unknown, 1_950, true, true),
            (Written(path()), 1_960, true, false),
            (Writing(path()), 1_970, false, true),
            (Replaced(path()), 1_980, true, false),
            (Writing(path()), 1_990, false, true),
            (Replaced("/d".into()), 1_995, true, false),
        ];
        let mut writers = Writers::default();
        for (change, ms, reads, held) in table {
            assert_eq!(writers.note(change.clone(), at(ms)), reads, "{change:?}");
            let is_held = writers.iter().any(|file| *file == path());
            assert_eq!(is_held, held, "{change:?}");
        }
        assert_eq!(writers.next(), None);
        writers.note(Writing(path()), at(2_000));
        writers.note(Writing(path()), at(3_000));
        assert_eq!(writers.next(), Some(at(4_000)));
        assert!(!writers.release(at(3_999)) && writers.release(at(4_000)));
        assert_eq!(writers.iter().count(), 0);
    }
}
