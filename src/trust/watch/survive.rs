//! A panic while the files are read must not end the thread that reads them: nobody would leave the
//! map any more, and nothing would say so. It never hides one.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::fault::Fault;
use super::super::{Snapshot, Store};

/// Does one step. The error is what it panicked with.
pub(super) fn survived<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    // What it leaves half done is read again: each reading begins with the files.
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| words(&*panic))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}

/// Shows the fault beside what is in force, until the next reading.
pub(super) fn show(why: String, store: &Store) -> Fault {
    let fault = Fault::Reading { why };
    let mut snapshot = Snapshot::clone(&store.current());
    if !snapshot.faults.contains(&fault) {
        snapshot.faults.push(fault.clone());
        store.publish(snapshot);
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::authz::Policy;

    #[test]
    fn a_panic_is_a_fault_and_what_is_in_force_stays() {
        assert_eq!(survived(|| 7), Ok(7));
        let store = Store::new(Policy::default());
        let before = store.snapshot();
        for _ in 0..2 {
            let why = survived(|| panic!("line {}", 3)).unwrap_err();
            assert_eq!(why, "line 3");
            show(why, &store);
        }
        let now = store.snapshot();
        assert_eq!(
            now.faults,
            [Fault::Reading {
                why: "line 3".into()
            }]
        );
        assert_eq!(now.admission, before.admission);
        assert_eq!(survived(|| panic!("words")), Err::<(), _>("words".into()));
    }
}
