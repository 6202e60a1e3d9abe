//! Processes that were replaced and still serve: what they hold, and when they end. It never
//! ends one by force.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::message::{DRAIN, GIVEN, Holds, SUPERSEDED};
use crate::proxy::upstream::{NodedStream, Slots};

/// One of them.
#[derive(Debug)]
pub(in crate::daemon) struct Predecessor {
    holds: Holds,
    /// When it was replaced.
    since: Instant,
    link: Arc<UnixStream>,
}

impl Predecessor {
    pub(super) fn new(holds: Holds, link: UnixStream) -> Self {
        let (now, ago) = (Instant::now(), holds.replaced_seconds_ago);
        let since = now.checked_sub(Duration::from_secs(ago)).unwrap_or(now);
        let link = Arc::new(link);
        Self { holds, since, link }
    }

    /// What it holds now.
    fn told(&self) -> Holds {
        Holds {
            replaced_seconds_ago: self.since.elapsed().as_secs(),
            ..self.holds
        }
    }

    /// Leaves it one slot more, once. Returns whether it has it: not if it has ended.
    fn give(&mut self) -> bool {
        self.holds.lacks_slot = false;
        let given = (&*self.link).write_all(&[GIVEN]).is_ok();
        self.holds.slots += usize::from(given);
        given
    }
}

/// All of them. Each sends a byte for a slot that it is done with; its end gives the rest.
#[derive(Debug)]
pub(in crate::daemon) struct Predecessors {
    alive: Mutex<Vec<Predecessor>>,
    slots: Arc<Slots<NodedStream>>,
    left: watch::Sender<usize>,
}

impl Predecessors {
    pub(in crate::daemon) fn new(
        alive: Vec<Predecessor>,
        slots: Arc<Slots<NodedStream>>,
    ) -> Arc<Self> {
        let left = watch::Sender::new(alive.len());
        let alive = Mutex::new(alive);
        let this = Self { alive, slots, left };
        this.freed(&mut this.lock(), this.slots.most());
        Arc::new(this)
    }

    /// Nobody.
    pub(in crate::daemon) fn none(slots: &Arc<Slots<NodedStream>>) -> Arc<Self> {
        let (alive, left) = (Mutex::default(), watch::Sender::new(0));
        let slots = Arc::clone(slots);
        Arc::new(Self { alive, slots, left })
    }

    /// What they hold now.
    pub(in crate::daemon) fn list(&self) -> Vec<Holds> {
        self.lock().iter().map(Predecessor::told).collect()
    }

    /// Listens to all of them, until the set is dropped.
    pub(super) fn listen(self: &Arc<Self>) -> JoinSet<()> {
        let mut listening = JoinSet::new();
        for (pid, link) in self.links() {
            let this = Arc::clone(self);
            listening.spawn(async move {
                if let Err(error) = this.listen_to(pid, &link).await {
                    warn!(pid, %error, "the link to a replaced process");
                }
                this.gone(pid);
            });
        }
        listening
    }

    async fn listen_to(&self, pid: u32, link: &UnixStream) -> io::Result<()> {
        link.set_nonblocking(true)?;
        let mut link = tokio::net::UnixStream::from_std(link.try_clone()?)?;
        let mut bytes = [0; 64];
        loop {
            let slots = link.read(&mut bytes).await?;
            if slots == 0 {
                return Ok(());
            }
            let mut alive = self.lock();
            if let Some(one) = alive.iter_mut().find(|one| one.holds.pid == pid) {
                one.holds.slots = one.holds.slots.saturating_sub(slots);
            }
            self.freed(&mut alive, slots);
        }
    }

    fn gone(&self, pid: u32) {
        info!(pid, "a replaced process has ended");
        let mut alive = self.lock();
        let freed = alive.extract_if(.., |one| one.holds.pid == pid);
        let freed = freed.map(|one| one.holds.slots).sum();
        self.freed(&mut alive, freed);
    }

    /// This process is stopped, and so are they.
    pub(in crate::daemon) fn drain(&self) {
        self.say(DRAIN);
    }

    /// A successor judges by other rules than they.
    pub(super) fn supersede(&self) {
        self.say(SUPERSEDED);
    }

    fn say(&self, word: u8) {
        for (pid, link) in self.links() {
            if let Err(error) = (&*link).write_all(&[word]) {
                warn!(pid, %error, word, "a replaced process cannot be told");
            }
        }
    }

    /// A successor has their links, and nobody else: the end of a link says that it has crashed.
    pub(super) fn leave(&self) {
        self.lock().clear();
    }

    /// Waits until all have ended.
    pub(in crate::daemon) async fn ended(&self) {
        let _ = self.left.subscribe().wait_for(|left| *left == 0).await;
    }

    /// Their links, to be handed to a successor.
    pub(super) fn links(&self) -> Vec<(u32, Arc<UnixStream>)> {
        let alive = self.lock();
        let links = alive.iter();
        links
            .map(|one| (one.holds.pid, Arc::clone(&one.link)))
            .collect()
    }

    /// So many slots came free: those that lack one come first, the oldest before the others. The
    /// rest is this process's.
    fn freed(&self, alive: &mut [Predecessor], freed: usize) {
        let held: usize = alive.iter().map(|one| one.holds.slots).sum();
        let free = freed.min(self.slots.most().saturating_sub(held));
        let lacking = alive.iter_mut().filter(|one| one.holds.lacks_slot);
        let given = lacking.filter_map(|one| one.give().then_some(()));
        let given = given.take(free).count();
        self.slots.leave_to_predecessors(held + given);
        self.left.send_replace(alive.len());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Predecessor>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptors of links.
pub(super) fn descriptors(links: &[(u32, Arc<UnixStream>)]) -> Vec<BorrowedFd<'_>> {
    links.iter().map(|(_, link)| link.as_fd()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_slot_that_one_process_cannot_take_any_more_goes_to_the_next_that_lacks_one() {
        let holds = |pid, slots| Holds {
            pid,
            slots,
            lacks_slot: true,
            replaced_seconds_ago: 90_000,
        };
        let [(one, its_end), (two, mut other_end)] = [(); 2].map(|()| UnixStream::pair().unwrap());
        let alive = vec![
            Predecessor::new(holds(1, 1), one),
            Predecessor::new(holds(2, 0), two),
        ];
        let slots = Slots::new(1, 0, 1);
        let predecessors = Predecessors::new(alive, Arc::clone(&slots));
        assert_eq!(slots.of_predecessors(), 1);
        let told = predecessors.list();
        let ages: Vec<_> = told.iter().map(|one| one.replaced_seconds_ago).collect();
        assert!(
            ages.iter().all(|age| (90_000..90_600).contains(age)),
            "{ages:?}"
        );
        drop(its_end); // it says that its slot is free, and ends
        let mut alive = predecessors.lock();
        alive[0].holds.slots = 0;
        predecessors.freed(&mut alive, 1);
        let mut told = [0];
        other_end.set_nonblocking(true).unwrap();
        assert_eq!(other_end.read(&mut told).unwrap(), 1);
        assert_eq!((told[0], slots.of_predecessors()), (GIVEN, 1));
    }
}
