//! What this process remembers, and whether it would outlive the process.
//!
//! While the state directory cannot be written, all of it holds in memory, and that is a fault as
//! long as it lasts: it is tried again at each reading and at each poll. It never decides who is
//! admitted.

use std::path::{Path, PathBuf};

use tracing::warn;

use super::bequest::Bequest;
use super::fault::Fault;
use super::reset::InUse;
use super::state::{Remembered, State, contents};
use crate::node::directory::Directory;
use crate::node::flaw::Flaw;
use rules::admission::{BootstrapPolicy, Latch, Memory};

/// Every so many looks at a directory that seems good, something is written to make sure.
const LOOKS_TO_A_TRIAL: u32 = 12;

/// The memory, and the state directory that keeps it.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: PathBuf,
    state: State,
    writes: bool,
    memory: Memory,
    damaged: Option<(PathBuf, String)>,
    in_use: Option<InUse>,
    trouble: Option<Fault>,
    looks: u32,
    /// Whether the directory could not be written at the start, so perhaps not before either.
    is_blind: bool,
}

impl Keeper {
    /// Reads what was kept. With `writes` false the directory is never touched.
    pub(super) fn new(directory: &Path, writes: bool) -> Self {
        let mut state = State::new(directory);
        if !writes {
            state.leave();
        }
        let Remembered { memory, damaged } = state.load();
        let mut keeper = Self {
            directory: directory.to_owned(),
            state,
            writes,
            memory,
            damaged,
            in_use: None,
            trouble: None,
            looks: 0,
            is_blind: false,
        };
        keeper.look();
        keeper.is_blind = keeper.trouble.is_some();
        keeper
    }

    /// From now on the directory is this process's. What others kept there counts, and what this
    /// process remembers by itself.
    pub(super) fn own(&mut self) {
        let mut kept = Self::new(&self.directory, true);
        let memory = std::mem::take(&mut self.memory);
        let damaged = self.damaged.take();
        kept.outlive(Remembered { memory, damaged });
        *self = kept;
    }

    /// What is remembered, for another process.
    pub(super) fn bequeath(&self, bequest: &mut Bequest) {
        [bequest.latch, bequest.map] = contents(&self.memory);
        bequest.damaged.clone_from(&self.damaged);
    }

    /// What the process before this one remembers.
    pub(super) fn inherit(&mut self, bequest: &mut Bequest) {
        let texts = [bequest.latch.take(), bequest.map.take()];
        let Remembered { memory, damaged } = self.state.told(texts);
        let damaged = bequest.damaged.take().or(damaged);
        self.outlive(Remembered { memory, damaged });
    }

    /// This is known from a process that has followed the files: it counts more than what that one
    /// may have been unable to write. What is closed stays closed.
    fn outlive(&mut self, known: Remembered) {
        let Remembered { memory, damaged } = known;
        for digest in memory.latch.iter() {
            self.memory.latch.close(*digest);
        }
        self.memory.last_good = memory.last_good;
        self.damaged = damaged.or_else(|| self.damaged.take());
    }

    /// From now on the directory is never touched. The mark on it stays.
    pub(super) fn leave(&mut self) {
        self.writes = false;
        self.trouble = None;
        self.state.leave();
    }

    /// What is known from earlier readings.
    pub(super) fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Whether a map was ever seen, if that is known.
    pub(super) fn had_map(&self) -> Option<bool> {
        let had_map = self.memory.latch != Latch::default();
        (had_map || !self.is_blind).then_some(had_map)
    }

    /// Whether not all that was kept could be read back, and nothing better is known yet.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// The policy for the bootstrap phase, which a damaged file keeps closed.
    pub(super) fn policy(&self, asked: BootstrapPolicy) -> BootstrapPolicy {
        match self.damaged {
            Some(_) => BootstrapPolicy::Refuse,
            None => asked,
        }
    }

    /// Remembers the outcome of a reading, in memory and on disk.
    pub(super) fn remember(&mut self, memory: Memory) {
        self.memory = memory;
        if self.damaged.is_some() && self.memory.last_good.is_none() {
            return; // the damaged file still shows that there once was a map
        }
        self.damaged = None;
        let touched = self.state.is_touched(&self.memory);
        if let Err(error) = self.state.keep(&self.memory) {
            self.trouble = Some(self.unwritable(&error));
        } else if self.trouble.is_some() {
            self.look();
        } else if touched {
            warn!(directory = %self.directory.display(),
                "somebody changed or removed what is kept there: it is written anew");
        }
    }

    /// Looks at the directory again. Returns whether its faults changed or are still there, or
    /// somebody else changed its files: then the next reading writes them.
    pub(super) fn look(&mut self) -> bool {
        if !self.writes {
            return false;
        }
        let before = self.trouble.take();
        let thorough = before.is_some() || self.looks.is_multiple_of(LOOKS_TO_A_TRIAL);
        self.looks = self.looks.wrapping_add(1);
        let tried = Directory::open(&self.directory).and_then(|directory| match thorough {
            true => directory.try_write(),
            false => directory.looks_writable(),
        });
        let tried = tried.and_then(|()| {
            let held = self.in_use.take();
            let held = held.filter(|lock| lock.is_of(&self.directory));
            self.in_use = Some(held.map_or_else(|| InUse::mark(&self.directory), Ok)?);
            Ok(())
        });
        self.trouble = tried.err().map(|error| self.unwritable(&error));
        let is_news = self.damaged.is_none() && self.state.is_touched(&self.memory);
        before.is_some() || self.trouble.is_some() || is_news
    }

    /// What is wrong now.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let damaged = self.damaged.as_ref().map(|(path, why)| Fault::State {
            path: path.clone(),
            flaw: Flaw::malformed(why),
        });
        damaged.into_iter().chain(self.trouble.clone()).collect()
    }

    fn unwritable(&self, error: &std::io::Error) -> Fault {
        Fault::unwritable(&self.directory, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn trouble_lasts_as_long_as_its_cause_and_what_was_lost_is_written_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut keeper = Keeper::new(&path, true);
        assert_eq!(keeper.faults().len(), 1, "there is no such directory");
        let digest = rules::identity::Digest::from_bytes([1; 20]);
        let memory = Memory {
            latch: [digest].into_iter().collect(),
            last_good: None,
        };
        keeper.remember(memory.clone());
        assert_eq!(keeper.faults().len(), 1);
        assert!(keeper.look(), "it lasts");
        fs::create_dir(&path).unwrap();
        assert!(keeper.look(), "it is over, which is news");
        assert!(keeper.faults().is_empty());
        keeper.remember(memory.clone());
        assert_eq!(State::new(&path).load().memory, memory);
        assert!(!keeper.look());
        fs::remove_dir_all(&path).unwrap();
        assert!(keeper.look());
        assert_eq!(keeper.faults().len(), 1, "removed while it runs");
    }

    #[test]
    fn two_processes_in_a_restart_do_not_write_against_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let new = || Keeper::new(dir.path(), true);
        let (mut old, mut new) = (new(), new());
        for n in 1..4 {
            let digest = rules::identity::Digest::from_bytes([n; 20]);
            let memory = Memory {
                latch: [digest].into_iter().collect(),
                last_good: None,
            };
            old.remember(memory.clone());
            new.remember(memory);
            assert!(!old.look() && !new.look(), "both say the same");
        }
        fs::write(dir.path().join("latch"), "x").unwrap();
        assert!(old.look() && new.look(), "somebody else");
    }

    #[test]
    fn a_successor_knows_what_could_never_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let good = |n: u8| {
            let server = rules::identity::Digest::from_bytes([n; 20]);
            let map = match rules::candidates::parse(format!("k={server}").as_bytes()) {
                rules::candidates::MapFile::Listed(map) => map.into(),
                other => panic!("{other:?}"),
            };
            let last_good = Some(rules::admission::LastGood { server, map });
            let latch = [server].into_iter().collect();
            Memory { last_good, latch }
        };
        Keeper::new(dir.path(), true).remember(good(1)); // an old map
        let mut old = Keeper::new(Path::new("/nonexistent"), true);
        old.remember(good(2));
        let mut bequest = Bequest::default();
        old.bequeath(&mut bequest);
        let mut new = Keeper::new(dir.path(), false);
        new.inherit(&mut bequest);
        for _ in 0..2 {
            assert_eq!(new.memory.last_good, good(2).last_good);
            assert_eq!(new.memory.latch.iter().count(), 2);
            assert!(!new.is_damaged());
            new.own();
        }
        bequest.latch = Some("of a later version".into());
        new.inherit(&mut bequest);
        assert_eq!(new.policy(BootstrapPolicy::Allow), BootstrapPolicy::Refuse);
        new.bequeath(&mut bequest);
        let mut next = Keeper::new(dir.path(), false);
        next.inherit(&mut bequest);
        assert!(next.is_damaged(), "until there is a good map");
    }

    #[test]
    fn whoever_does_not_own_the_directory_leaves_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path(), false);
        keeper.remember(Memory::default());
        assert!(!keeper.look() && keeper.faults().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut nowhere = Keeper::new(Path::new("/nonexistent"), false);
        assert!(!nowhere.look() && nowhere.faults().is_empty());
    }
}
