//! Decides when to read the files again: inotify on the directories, SIGHUP, and a slow poll as a
//! fallback. It never reads their content.
//!
//! Ganeti usually writes a temporary file and renames it over the old one, but `renew-crypto`
//! copies in place with scp. So the *directories* are watched, and both kinds of event count; a file
//! that is being written is read when it is closed. When no more events come for a moment, there is
//! one reload. One thread does all of it: it owns the [`Reloader`].

mod heirs;
mod survive;
mod trail;
mod watches;
mod writers;

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::bequest::Bequest;
use super::known::lists;
use super::metrics::Cause;
use super::paths::Stamps;
use super::reload::Reloader;
use super::{Snapshot, Store};
use heirs::Heirs;
use rules::identity::{Digest, PeerIdentity};
use survive::{show, survived};
use watches::Watches;
use writers::{Change, Writers};

/// The files are read after this long without an event.
const QUIET: Duration = Duration::from_millis(20);
/// The files are read after this long at the latest, even if events keep coming.
const AT_MOST: Duration = Duration::from_millis(60);
/// Pauses before a faulty file is read again. After the last one the poll takes over.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
];
/// Pause between two polls, which find what inotify missed.
const POLL: Duration = Duration::from_secs(5);
/// Pause after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// Without inotify, files that change are looked at again after this pause, and so many times: who
/// writes them may not be done.
const SETTLING: (Duration, usize) = (Duration::from_secs(1), 2);

/// Asks the watching thread for a reload, and hands it certificates to learn.
#[derive(Debug, Clone)]
pub struct Reloads {
    sender: Sender<Wake>,
    handed: Handed,
}

/// Digests of certificates that were handed over but are not known yet.
#[derive(Debug, Clone, Default)]
struct Handed(Arc<Mutex<BTreeSet<Digest>>>);

impl Handed {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Wake {
    /// A watched file may have changed.
    Changed(Change),
    /// Read now, and say what is remembered then.
    Bequeath(oneshot::Sender<Bequest>),
    /// The same; and from now on the state directory is this process's, or another one's.
    Owns(bool, oneshot::Sender<()>),
    /// The certificate (DER) of a peer that proved possession of its key.
    Learned(Arc<[u8]>),
}

impl Reloads {
    /// Reads the files now; what is remembered when the result is in force and nobody is writing one
    /// of them. None if nobody reads them any more.
    pub async fn bequest(&self) -> Option<Bequest> {
        let (done, wait) = oneshot::channel();
        self.sender.send(Wake::Bequeath(done)).ok()?;
        wait.await.ok()
    }

    /// Another process keeps the state directory from now on; returns when all is written.
    pub async fn leave_state(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Wake::Owns(false, done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// This process keeps the state directory from now on. It does not wait.
    pub fn own_state(&self) {
        let _ = self.sender.send(Wake::Owns(true, oneshot::channel().0));
    }

    /// Hands over the certificate of an admitted peer, if it is a candidate's and not known yet. It
    /// never waits, and it hands over each certificate once.
    pub fn learn(&self, peer: &PeerIdentity, snapshot: &Snapshot) {
        let digest = &peer.digest;
        if snapshot.known.get(digest).is_some() || !lists(&snapshot.admission, digest) {
            return;
        }
        if self.handed.lock().insert(*digest) {
            let _ = self.sender.send(Wake::Learned(Arc::clone(&peer.der)));
        }
    }
}

/// Reads the files once, then watches them in a thread of its own until all [`Reloads`] are
/// dropped. Returns the handle and the first snapshot.
pub fn spawn(mut reloader: Reloader, store: &Arc<Store>) -> io::Result<(Reloads, Arc<Snapshot>)> {
    let (sender, wakes) = channel();
    let teller = sender.clone();
    let mut watches = Watches::new(reloader.paths(), move |change| {
        let _ = teller.send(Wake::Changed(change));
    });
    watches.renew(); // before the first reload, so that no change is missed
    reloader.unwatched(watches.fault());
    let stamps = reloader.stamps();
    let good = reloader.reload_because(Cause::Start);
    let first = store.snapshot();
    let handed = Handed::default();
    let reloads = Reloads {
        sender,
        handed: handed.clone(),
    };
    let store = Arc::clone(store);
    let watch = move || {
        Watch {
            store,
            reloader,
            watches,
            writers: Writers::default(),
            heirs: Heirs::default(),
            stamps,
            handed,
            failures: usize::from(!good),
            last: Instant::now(),
        }
        .run(&wakes)
    };
    thread::Builder::new().name("trust".into()).spawn(watch)?;
    Ok((reloads, first))
}

struct Watch {
    store: Arc<Store>,
    reloader: Reloader,
    watches: Watches,
    writers: Writers,
    heirs: Heirs,
    stamps: Stamps,
    handed: Handed,
    failures: usize,
    /// When the files were read or looked at last.
    last: Instant,
}

impl Watch {
    fn run(mut self, wakes: &Receiver<Wake>) {
        loop {
            match survived(|| self.turn(wakes)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    error!(fault = %show(why, &self.store), "reading the files again in a moment");
                    self.failures += 1;
                    thread::sleep(AFTER_PANIC);
                }
            }
        }
    }

    /// Waits for something to do and does it. `false` when nobody can ask for anything any more.
    fn turn(&mut self, wakes: &Receiver<Wake>) -> bool {
        self.reloader.keep_sightings(); // last: a write may take its time
        let asked = match wakes.recv_timeout(self.pause()) {
            Ok(wake) => self.gather(wake, wakes),
            Err(RecvTimeoutError::Timeout) => self.look(wakes),
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        self.answer(asked);
        self.tell_heirs();
        true
    }

    /// Tells what is remembered, if nobody is writing a file, or has been for too long.
    fn tell_heirs(&mut self) {
        if self.heirs.next().is_none() {
            return;
        }
        let writing = self.watches.held(&self.writers);
        for heir in self.heirs.due(!writing.is_empty(), Instant::now()) {
            let _ = heir.send(self.reloader.bequest());
        }
        if let (true, Some(path)) = (self.heirs.is_news(), writing.first()) {
            info!(path = %path.display(), "the handover waits for whoever writes this file");
        }
    }

    /// Time until something must be done though nothing happens.
    fn pause(&self) -> Duration {
        let poll = match self.failures {
            0 => POLL,
            n => AGAIN.get(n - 1).copied().unwrap_or(POLL),
        };
        let due = self.last + poll;
        let ends = self.writers.next().into_iter().chain(self.heirs.next());
        let due = ends.fold(due, Instant::min);
        due.saturating_duration_since(Instant::now())
    }

    /// Nothing happened for a while: is there something to do all the same?
    fn look(&mut self, wakes: &Receiver<Wake>) -> Asked {
        if self.writers.release(Instant::now()) {
            return Asked::because(Cause::Inotify);
        }
        self.last = Instant::now();
        self.watches.renew();
        let news = self.reloader.look_at_state();
        let stamps = self.reloader.stamps();
        if self.stamps != stamps {
            self.settle(stamps);
            // Who changes them may be at work, and then inotify tells of it in a moment.
            let asked = self.gather(Wake::Changed(Change::Unknown), wakes);
            return asked.or(Cause::Poll);
        }
        let again = self.failures > 0 || news || self.watches.fault().is_some();
        match again {
            true => Asked::because(Cause::Retry),
            false => Asked::default(),
        }
    }

    /// Where inotify does not tell when a file is closed, waits until the files stay the same.
    fn settle(&self, mut stamps: Stamps) {
        let (pause, times) = SETTLING;
        for _ in 0..times {
            if self.watches.fault().is_none() {
                return;
            }
            thread::sleep(pause);
            let now = self.reloader.stamps();
            if now == std::mem::replace(&mut stamps, now.clone()) {
                return;
            }
        }
    }

    /// Does what was asked for.
    fn answer(&mut self, asked: Asked) {
        let mut news = false;
        for der in &asked.learned {
            news |= self.reloader.learn(der);
        }
        let changed = asked.unknown.then_some(Cause::Inotify);
        let learned = news.then_some(Cause::Learned);
        let Some(cause) = asked.cause.or(changed).or(learned) else {
            return;
        };
        if asked.owns == Some(true) {
            self.reloader.own_state();
        }
        self.watches.renew();
        self.reloader.unwatched(self.watches.fault());
        self.reloader.hold(self.watches.held(&self.writers));
        // Stamps before the reload, so that the next poll sees a change during it.
        self.stamps = self.reloader.stamps();
        self.failures = match self.reloader.reload_because(cause) {
            true => 0,
            false => self.failures + 1,
        };
        if asked.owns == Some(false) {
            self.reloader.leave_state(); // all was written just now
        }
        self.last = Instant::now();
        // What was learned is known now, and what was not may be handed over again.
        self.handed.lock().clear();
        for done in asked.waiting {
            let _ = done.send(());
        }
    }

    /// Collects what the thread was woken for. If files changed, it waits until no more events
    /// come. If there are only certificates to learn, it does not wait.
    fn gather(&mut self, first: Wake, wakes: &Receiver<Wake>) -> Asked {
        let end = Instant::now() + AT_MOST;
        let (mut asked, mut next) = (Asked::default(), Some(first));
        while let Some(wake) = next {
            match wake {
                Wake::Changed(change) => {
                    let told = change != Change::Unknown;
                    if self.writers.note(change, Instant::now()) {
                        asked.changed(told);
                    }
                }
                Wake::Learned(der) => asked.learned.push(der),
                // Goes on: a writing may have begun just now.
                Wake::Bequeath(heir) => {
                    self.heirs.add(heir, Instant::now());
                    asked.cause = Some(Cause::Asked);
                }
                Wake::Owns(owns, done) => {
                    asked.owns = Some(owns);
                    asked.waiting.push(done);
                    return asked.now();
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            next = match (asked.reads(), left.is_zero()) {
                (true, false) => wakes.recv_timeout(QUIET.min(left)).ok(),
                (false, false) => wakes.try_recv().ok(),
                (_, true) => None,
            };
        }
        asked
    }
}

/// What the thread was woken for.
#[derive(Default)]
struct Asked {
    /// Why the files are to be read, if they are.
    cause: Option<Cause>,
    /// Something changed, and inotify did not tell what.
    unknown: bool,
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether the state directory is this process's from now on.
    owns: Option<bool>,
    learned: Vec<Arc<[u8]>>,
}

impl Asked {
    fn because(cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..Self::default()
        }
    }

    fn changed(&mut self, told: bool) {
        match told {
            true => drop(self.cause.get_or_insert(Cause::Inotify)),
            false => self.unknown = true,
        }
    }

    /// Somebody waits for a reading.
    fn now(mut self) -> Self {
        self.cause = Some(Cause::Asked);
        self
    }

    fn reads(&self) -> bool {
        self.cause.is_some() || self.unknown
    }

    /// For this reason, unless there is another one.
    fn or(mut self, cause: Cause) -> Self {
        self.cause.get_or_insert(cause);
        self
    }
}
