//! This process's share of the slots, while an old and a new process both serve. Pure: it counts.
//!
//! The old one keeps what it uses, and one more as long as a connection may still bring a request.
//! It passes on what it is done with, and never takes anything back. If there was no further one, it
//! may be given it later.

/// The share of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Share {
    /// Slots that predecessors still have.
    before: usize,
    /// In a process that was replaced: all that it may use.
    kept: Option<usize>,
    /// No connection without a running RPC is left, so no request can come.
    settled: bool,
}

impl Share {
    /// Slots that this process may use, of `most`.
    pub(super) fn limit(&self, most: usize) -> usize {
        self.kept
            .unwrap_or_else(|| most.saturating_sub(self.before))
    }

    /// The same for slow procedures. What predecessors have counts as slow, because it may be.
    pub(super) fn limit_slow(&self, most_slow: usize) -> usize {
        match self.kept {
            Some(_) => most_slow,
            None => most_slow.saturating_sub(self.before),
        }
    }

    /// Slots that predecessors have.
    pub(super) fn before(&self) -> usize {
        self.before
    }

    /// Predecessors have so many slots.
    pub(super) fn wait_for(&mut self, before: usize) {
        self.before = before;
    }

    /// A successor takes over: from now on this process only finishes what it has. Returns how many
    /// slots it keeps; the same if that was so before.
    pub(super) fn retire(&mut self, most: usize, in_use: usize) -> usize {
        let kept = (in_use + 1).min(self.limit(most));
        self.kept = Some(kept);
        kept
    }

    /// Whether the process lacks the one more that a late request may need.
    pub(super) fn lacks_one(&self, in_use: usize) -> bool {
        !self.settled && self.kept.is_some_and(|kept| kept <= in_use)
    }

    /// The successor leaves it one more.
    pub(super) fn is_given_one(&mut self) {
        self.kept = self.kept.map(|kept| kept + 1);
    }

    /// There is no successor after all.
    pub(super) fn resume(&mut self) {
        self.kept = None;
    }

    /// No request can come any more.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// How many slots go to the successor now.
    pub(super) fn pass_on(&mut self, in_use: usize) -> usize {
        let Some(kept) = self.kept else { return 0 };
        let needed = kept.min(in_use + usize::from(!self.settled));
        self.kept = Some(needed);
        kept - needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_together_never_have_more_than_there_are() {
        for (most, in_use, kept) in [(20, 0, 1), (20, 7, 8), (20, 20, 20), (1, 0, 1), (1, 1, 1)] {
            let (mut old, mut new) = (Share::default(), Share::default());
            assert_eq!(old.retire(most, in_use), kept);
            new.wait_for(kept);
            assert_eq!(old.limit(most) + new.limit(most), most);
            let (mut left, mut uses) = (kept, in_use);
            loop {
                left -= old.pass_on(uses);
                new.wait_for(left);
                assert_eq!(old.limit(most) + new.limit(most), most);
                assert!(
                    old.limit(most) >= uses.max(1),
                    "a late request can be served"
                );
                if uses == 0 {
                    break;
                }
                uses -= 1;
            }
            old.settle();
            left -= old.pass_on(0);
            assert_eq!((left, old.limit(most)), (0, 0));
        }
    }

    #[test]
    fn a_process_between_two_passes_on_only_its_own() {
        let mut middle = Share::default();
        middle.wait_for(15);
        assert_eq!((middle.limit(20), middle.limit_slow(16)), (5, 1));
        assert_eq!(middle.retire(20, 5), 5);
        assert_eq!(middle.pass_on(5), 0);
        middle.settle();
        assert_eq!((middle.pass_on(2), middle.limit(20)), (3, 2));
        assert_eq!(middle.pass_on(5), 0, "nothing is taken back");
    }

    #[test]
    fn one_without_a_slot_to_spare_lacks_one_until_it_is_given() {
        for (before, in_use, kept, lacks) in [(20, 0, 0, true), (15, 5, 5, true), (15, 4, 5, false)]
        {
            let mut middle = Share::default();
            middle.wait_for(before);
            assert!(!middle.lacks_one(in_use), "it takes what comes free itself");
            assert_eq!(middle.retire(20, in_use), kept);
            assert_eq!(middle.lacks_one(in_use), lacks);
            middle.is_given_one();
            assert!(!middle.lacks_one(in_use));
            assert_eq!(middle.pass_on(in_use), usize::from(!lacks));
            middle.settle();
            assert_eq!(middle.pass_on(in_use), 1);
            assert!(!middle.lacks_one(in_use), "nothing can come any more");
        }
    }
}
