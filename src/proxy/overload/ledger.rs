//! The books on connections: pure accounting, without clock or socket.

use std::collections::{BTreeMap, HashMap};

/// What became of a connection that asked for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<T> {
    /// There was room; its number.
    Room(u64),
    /// Its number, and what the connection left behind that had to give way.
    InsteadOf(u64, T),
    /// All places are taken by admitted clients.
    Full,
}

/// Open connections: those still unfinished, oldest first, and the settled ones.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    most: usize,
    reserved: usize,
    next: u64,
    /// Unfinished connections of strangers and of candidates' addresses.
    unfinished: [BTreeMap<u64, T>; 2],
    /// Settled connections, and whether they came from a candidate's address.
    settled: HashMap<u64, bool>,
    /// Connections of strangers, settled or not.
    strangers: usize,
}

impl<T> Ledger<T> {
    /// For at most `most` connections, of which `reserved` are kept for candidates' addresses.
    pub(super) fn new(most: usize, reserved: usize) -> Self {
        Self {
            most,
            reserved,
            next: 0,
            unfinished: [BTreeMap::new(), BTreeMap::new()],
            settled: HashMap::new(),
            strangers: 0,
        }
    }

    /// A new connection; `tell` is handed back when it has to give way.
    pub(super) fn enter(&mut self, candidate: bool, tell: T) -> Entry<T> {
        let total = self.settled.len() + self.unfinished.iter().map(BTreeMap::len).sum::<usize>();
        let open_to_all = self.most.saturating_sub(self.reserved);
        let room = total < self.most && (candidate || self.strangers < open_to_all);
        let gone = match (room, candidate) {
            (true, _) => None,
            (false, true) => match self.shed() {
                None => return Entry::Full,
                gone => gone,
            },
            // A stranger never displaces somebody from a candidate's address.
            (false, false) => match self.shed_from(false) {
                None => return Entry::Full,
                gone => gone,
            },
        };
        let id = self.next;
        self.next += 1;
        self.unfinished[usize::from(candidate)].insert(id, tell);
        self.strangers += usize::from(!candidate);
        match gone {
            Some(gone) => Entry::InsteadOf(id, gone),
            None => Entry::Room(id),
        }
    }

    /// Takes the oldest unfinished connection off the books, a stranger's before a candidate's.
    pub(super) fn shed(&mut self) -> Option<T> {
        self.shed_from(false).or_else(|| self.shed_from(true))
    }

    fn shed_from(&mut self, candidate: bool) -> Option<T> {
        let (_, tell) = self.unfinished[usize::from(candidate)].pop_first()?;
        self.strangers -= usize::from(!candidate);
        Some(tell)
    }

    /// The connection is finished with its handshake and stays; `false` if it had to give way.
    pub(super) fn settle(&mut self, id: u64) -> bool {
        for (side, candidate) in [(0, false), (1, true)] {
            if self.unfinished[side].remove(&id).is_some() {
                self.settled.insert(id, candidate);
                return true;
            }
        }
        self.settled.contains_key(&id)
    }

    /// The connection ended; nothing happens if it had given way before.
    pub(super) fn leave(&mut self, id: u64) {
        let candidate = match self.settled.remove(&id) {
            Some(candidate) => candidate,
            None if self.unfinished[0].remove(&id).is_some() => false,
            None if self.unfinished[1].remove(&id).is_some() => true,
            None => return,
        };
        self.strangers -= usize::from(!candidate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::*;

    /// Connections are numbered from 0 in the order in which they got a place.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Stranger,
        Candidate,
        Settle(u64),
        Leave(u64),
        Shed,
    }

    /// What each step came to: `+` a place, `-N` a place instead of N's, `!` none, `.` nothing.
    fn play(most: usize, reserved: usize, steps: &[Step]) -> String {
        let mut ledger = Ledger::new(most, reserved);
        let mut outcome = |step: Step| {
            let entered = match step {
                Stranger => ledger.enter(false, ledger.next),
                Candidate => ledger.enter(true, ledger.next),
                Settle(id) => return String::from(if ledger.settle(id) { "." } else { "gone" }),
                Leave(id) => {
                    ledger.leave(id);
                    return ".".into();
                }
                Shed => {
                    return ledger
                        .shed()
                        .map_or_else(|| "!".into(), |id| format!("-{id}"));
                }
            };
            match entered {
                Entry::Room(_) => "+".into(),
                Entry::InsteadOf(_, other) => format!("-{other}"),
                Entry::Full => "!".into(),
            }
        };
        let outcomes: Vec<String> = steps.iter().map(|step| outcome(*step)).collect();
        outcomes.join(" ")
    }

    #[test]
    fn places_as_a_table() {
        let table: [(&str, usize, usize, &[Step], &str); 9] = [
            (
                "the oldest unfinished one gives way",
                2,
                0,
                &[Stranger, Stranger, Stranger, Stranger],
                "+ + -0 -1",
            ),
            (
                "settled ones do not",
                2,
                0,
                &[Stranger, Settle(0), Stranger, Stranger, Settle(2), Stranger],
                "+ . + -1 . !",
            ),
            (
                "the reserve is for candidates",
                3,
                1,
                &[Stranger, Stranger, Stranger, Candidate, Candidate],
                "+ + -0 + -1",
            ),
            (
                "strangers never displace candidates",
                2,
                1,
                &[Candidate, Candidate, Stranger],
                "+ + !",
            ),
            (
                "candidates displace strangers first",
                2,
                1,
                &[Candidate, Stranger, Candidate, Candidate],
                "+ + -1 -0",
            ),
            (
                "settled strangers leave the reserve alone",
                3,
                1,
                &[
                    Stranger,
                    Settle(0),
                    Stranger,
                    Settle(1),
                    Stranger,
                    Candidate,
                ],
                "+ . + . ! +",
            ),
            (
                "a place is free again",
                1,
                0,
                &[Stranger, Leave(0), Stranger, Settle(1), Leave(1), Stranger],
                "+ . + . . +",
            ),
            (
                "who gave way frees nothing more and is not settled",
                1,
                0,
                &[Stranger, Stranger, Settle(0), Leave(0), Settle(1), Stranger],
                "+ -0 gone . . !",
            ),
            (
                "shedding takes strangers first, and never settled ones",
                4,
                1,
                &[Candidate, Stranger, Stranger, Settle(1), Shed, Shed, Shed],
                "+ + + . -2 -0 !",
            ),
        ];
        for (case, most, reserved, steps, expected) in table {
            assert_eq!(play(most, reserved, steps), expected, "{case}");
        }
    }

    #[test]
    fn a_flood_of_strangers_leaves_the_reserve_free() {
        let mut ledger = Ledger::new(100, 10);
        for _ in 0..1_000 {
            assert_ne!(ledger.enter(false, ()), Entry::Full);
        }
        assert_eq!(ledger.strangers, 90);
        for _ in 0..10 {
            assert!(matches!(ledger.enter(true, ()), Entry::Room(_)));
        }
    }
}
