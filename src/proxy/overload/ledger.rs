//! The books on connections: who gets a place and who gives way. Pure: no clock, no socket.

use std::collections::HashSet;

use super::caller::Caller;
use super::crowd::Crowd;

/// What became of a connection that asked for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<T> {
    /// There was room; its number.
    Room(u64),
    /// Its number, and the token of the connection that had to give way.
    InsteadOf(u64, T),
    /// All places are taken by admitted clients.
    Full,
}

/// Open connections: those still unfinished, and the settled ones.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    most: usize,
    reserved: usize,
    next: u64,
    /// Unfinished connections: from other addresses, and from candidates' addresses.
    unfinished: [Crowd<T>; 2],
    /// Settled connections. Their clients are admitted, wherever they came from.
    settled: HashSet<u64>,
}

impl<T> Ledger<T> {
    /// For at most `most` connections, of which `reserved` are reserved for candidates' addresses.
    pub(super) fn new(most: usize, reserved: usize) -> Self {
        Self {
            most,
            reserved,
            next: 0,
            unfinished: [Crowd::new(), Crowd::new()],
            settled: HashSet::new(),
        }
    }

    /// A new connection. Its `token` is returned when it has to give way.
    pub(super) fn enter(&mut self, caller: Caller, token: T) -> Entry<T> {
        let candidate = caller.is_candidate();
        let total = self.settled.len() + self.unfinished.iter().map(Crowd::len).sum::<usize>();
        let open_to_all = self.most.saturating_sub(self.reserved);
        let room = total < self.most && (candidate || self.unfinished[0].len() < open_to_all);
        let gone = match (room, candidate) {
            (true, _) => None,
            (false, true) => match self.shed() {
                None => return Entry::Full,
                gone => gone,
            },
            // Another address never displaces a candidate's.
            (false, false) => match self.shed_from(false) {
                None => return Entry::Full,
                gone => gone,
            },
        };
        let id = self.next;
        self.next += 1;
        self.unfinished[usize::from(candidate)].insert(id, caller, token);
        match gone {
            Some(gone) => Entry::InsteadOf(id, gone),
            None => Entry::Room(id),
        }
    }

    /// Takes an unfinished connection off the books: the oldest of the source that has the most.
    /// Candidates' addresses come last.
    pub(super) fn shed(&mut self) -> Option<T> {
        self.shed_from(false).or_else(|| self.shed_from(true))
    }

    fn shed_from(&mut self, candidate: bool) -> Option<T> {
        self.unfinished[usize::from(candidate)].shed()
    }

    /// The connection has finished its handshake and stays; `false` if it had to give way.
    pub(super) fn settle(&mut self, id: u64) -> bool {
        if self.finish(id) {
            self.settled.insert(id);
        }
        self.settled.contains(&id)
    }

    /// The connection ended. Does nothing if it had to give way before.
    pub(super) fn leave(&mut self, id: u64) {
        let _ = self.settled.remove(&id) || self.finish(id);
    }

    /// Takes a connection off the unfinished ones; `false` if it is none.
    fn finish(&mut self, id: u64) -> bool {
        let mut sides = self.unfinished.iter_mut();
        sides.any(|side| side.remove(id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::*;

    /// Connections are numbered from 0 in the order in which they got a place.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Other,
        /// From an address like no other's.
        Another,
        Candidate,
        Settle(u64),
        Leave(u64),
        Shed,
    }

    fn caller(last: u8, candidate: bool) -> Caller {
        Caller::new([192, 0, 2, last].into(), candidate)
    }

    /// The outcome of each step: `+` a place, `-N` the place of N, `!` no place, `.` nothing.
    fn play(most: usize, reserved: usize, steps: &[Step]) -> String {
        let mut ledger = Ledger::new(most, reserved);
        let mut outcome = |step: Step| {
            let entered = match step {
                Other => ledger.enter(caller(1, false), ledger.next),
                Another => ledger.enter(caller(2, false), ledger.next),
                Candidate => ledger.enter(caller(3, true), ledger.next),
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
        let table: [(&str, usize, usize, &[Step], &str); 10] = [
            (
                "the oldest unfinished one gives way",
                2,
                0,
                &[Other, Other, Other, Other],
                "+ + -0 -1",
            ),
            (
                "a source with few is safe from one with many",
                3,
                0,
                &[Another, Other, Other, Other, Other, Another, Other],
                "+ + + -1 -2 -3 -0",
            ),
            (
                "settled ones do not",
                2,
                0,
                &[Other, Settle(0), Other, Other, Settle(2), Other],
                "+ . + -1 . !",
            ),
            (
                "the reserve is for candidates",
                3,
                1,
                &[Other, Other, Other, Candidate, Candidate],
                "+ + -0 + -1",
            ),
            (
                "other addresses never displace candidates",
                2,
                1,
                &[Candidate, Candidate, Other],
                "+ + !",
            ),
            (
                "candidates displace other addresses first",
                2,
                1,
                &[Candidate, Other, Candidate, Candidate],
                "+ + -1 -0",
            ),
            (
                "an admitted client is no other any more",
                3,
                1,
                &[Other, Settle(0), Other, Settle(1), Other, Candidate, Other],
                "+ . + . + -2 !",
            ),
            (
                "a place is free again",
                1,
                0,
                &[Other, Leave(0), Other, Settle(1), Leave(1), Other],
                "+ . + . . +",
            ),
            (
                "who gave way frees nothing more and is not settled",
                1,
                0,
                &[Other, Other, Settle(0), Leave(0), Settle(1), Other],
                "+ -0 gone . . !",
            ),
            (
                "shedding takes other addresses first, and never settled ones",
                4,
                1,
                &[Candidate, Other, Other, Settle(1), Shed, Shed, Shed],
                "+ + + . -2 -0 !",
            ),
        ];
        for (case, most, reserved, steps, expected) in table {
            assert_eq!(play(most, reserved, steps), expected, "{case}");
        }
    }

    #[test]
    fn a_flood_from_other_addresses_leaves_the_reserve_free() {
        let mut ledger = Ledger::new(100, 10);
        for _ in 0..1_000 {
            assert_ne!(ledger.enter(caller(1, false), ()), Entry::Full);
        }
        assert_eq!(ledger.unfinished[0].len(), 90);
        for _ in 0..10 {
            assert!(matches!(ledger.enter(caller(3, true), ()), Entry::Room(_)));
        }
    }
}
