//! The same for many, so many at a time. One that takes long holds up nobody but itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What it came to for each, in their order.
pub(crate) fn on_each<I: Sync, T: Send>(
    items: &[I],
    at_a_time: usize,
    what: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, what(item)));
        }
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let workers = 0..at_a_time.clamp(1, items.len().max(1));
        let started: Vec<_> = workers.map(|_| scope.spawn(work)).collect();
        let ended = started.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_are_done_in_their_order_and_no_more_than_that_at_a_time() {
        let running = AtomicUsize::new(0);
        // Each waits for two others, so that all that can run do.
        let three = Barrier::new(3);
        let items: Vec<usize> = (0..48).collect();
        let done = on_each(&items, 3, |item| {
            running.fetch_add(1, Ordering::SeqCst);
            three.wait();
            let all = running.load(Ordering::SeqCst);
            three.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            three.wait();
            (*item, all)
        });
        let expected: Vec<_> = items.iter().map(|item| (*item, 3)).collect();
        assert_eq!(done, expected);
        assert_eq!(on_each(&[(); 0], 3, |()| ()), []);
        assert_eq!(on_each(&[1], 0, |item| *item), [1]);
    }

    #[test]
    fn a_slow_one_holds_up_nobody() {
        let (tell, told) = mpsc::channel();
        let told = Mutex::new(told);
        // The first ends only after the last.
        let done = on_each(&[0, 1, 2, 3, 4], 2, |item| match item {
            0 => told.lock().unwrap().recv_timeout(Duration::from_secs(60)),
            4 => tell.send(()).map_err(|_| mpsc::RecvTimeoutError::Timeout),
            _ => Ok(()),
        });
        assert_eq!(done, [Ok(()); 5]);
    }
}
