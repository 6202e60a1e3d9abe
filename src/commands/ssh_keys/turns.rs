//! Who had a turn in this run, and who failed it. A node that fails keeps no other from its turn: a
//! normal node may be in hostile hands, and would keep former keys authorized everywhere else. It
//! does nothing on a node itself.

use std::collections::BTreeMap;

use crate::commands::ssh::interrupt;
use crate::daemon::report::words::count;

/// Turns of one node in one run; with nothing in the way it has seven at the most.
const MOST: usize = 10;

/// Why a turn came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// The others can have theirs.
    Node(String),
    /// Nothing more may be done on any node.
    Run(String),
}

/// All turns of a run.
#[derive(Debug, Default)]
pub(super) struct Turns {
    had: BTreeMap<String, usize>,
    failed: BTreeMap<String, String>,
    is_over: bool,
}

impl Turns {
    /// Gives a node its turn, unless the run is over, and tells what comes of it; whether it is good.
    pub(super) fn give(
        &mut self,
        name: &str,
        turn: impl FnOnce() -> Result<String, Failed>,
    ) -> bool {
        if self.is_over {
            return false;
        }
        let had = self.had.entry(name.to_owned()).or_default();
        *had += 1;
        let done = match *had > MOST {
            true => Err(Failed::Node(
                "it says each time that it is done, and is not".into(),
            )),
            false => turn(),
        };
        let (why, is_over) = match done {
            Ok(told) => {
                if !told.is_empty() {
                    outln!("ok    {name}: {told}");
                }
                return true;
            }
            Err(Failed::Node(why)) => (why, interrupt::is_told()),
            Err(Failed::Run(why)) => (why, true),
        };
        outln!("FAIL  {name}: {why}");
        self.failed.insert(name.to_owned(), why);
        self.is_over = is_over;
        false
    }

    /// A node that was not seen has no turn any more.
    pub(super) fn lose(&mut self, name: &str, why: &str) {
        self.failed.insert(name.to_owned(), why.to_owned());
    }

    /// Why a node has no turn any more.
    pub(super) fn lost(&self, name: &str) -> Option<&String> {
        self.failed.get(name)
    }

    /// Whether nothing more may be done.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Says once more who is left: the lines that told why may be far above.
pub(super) fn tell_left(left: &[String]) {
    if !left.is_empty() {
        outln!(
            "{} not done: {}",
            count(left.len(), "node"),
            left.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_keeps_nobody_from_a_turn_and_what_ends_the_run_does() {
        let mut turns = Turns::default();
        let good = || Ok("done".to_owned());
        assert!(turns.give("n1", good));
        assert!(!turns.give("n2", || Err(Failed::Node("no".into()))));
        assert_eq!(turns.lost("n2").unwrap(), "no");
        assert!(!turns.is_over() && turns.give("n3", good));
        assert!(!turns.give("n3", || Err(Failed::Run("stop".into()))));
        assert!(turns.is_over() && turns.lost("n1").is_none());
        assert!(!turns.give("n4", || unreachable!()));
    }

    #[test]
    fn one_that_is_never_done_loses_its_turn() {
        let mut turns = Turns::default();
        let mut given = 0;
        while turns.give("n1", || {
            given += 1;
            Ok("done".into())
        }) {}
        assert_eq!(given, MOST);
        assert!(turns.lost("n1").unwrap().contains("and is not"));
        assert!(!turns.is_over() && turns.give("n2", || Ok("done".into())));
    }
}
