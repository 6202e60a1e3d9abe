//! Decides when to read the files again: inotify on the directories, SIGHUP, and a slow poll as a
//! fallback. It never reads their content.
//!
//! Ganeti usually writes a temporary file and renames it over the old one, but `renew-crypto`
//! copies in place with scp. So the *directories* are watched, and both kinds of event count. When
//! no more events come for a moment, there is one reload. One thread does all of it: it owns the
//! [`Reloader`].

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::known::lists;
use super::paths::Stamps;
use super::reload::Reloader;
use super::{Snapshot, Store};
use rules::identity::{Digest, PeerIdentity};

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
    Changed,
    /// Read now, and say when it is done.
    Now(oneshot::Sender<()>),
    /// The certificate (DER) of a peer that proved possession of its key.
    Learned(Arc<[u8]>),
}

impl Reloads {
    /// Reads the files now; returns when the result is in force.
    pub async fn now(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Wake::Now(done)).is_ok() {
            let _ = wait.await;
        }
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
pub fn spawn(mut reloader: Reloader, store: &Arc<Store>) -> (Reloads, Arc<Snapshot>) {
    let (sender, wakes) = channel();
    let mut watches = Watches::new(&reloader, sender.clone());
    watches.renew(); // before the first reload, so that no change is missed
    let stamps = reloader.stamps();
    let good = reloader.reload();
    let first = store.snapshot();
    let handed = Handed::default();
    let reloads = Reloads {
        sender,
        handed: handed.clone(),
    };
    let watch = move || {
        Watch {
            reloader,
            watches,
            stamps,
            handed,
            failures: usize::from(!good),
        }
        .run(&wakes)
    };
    if let Err(error) = thread::Builder::new().name("trust".into()).spawn(watch) {
        warn!(%error, "no thread for watching the files: they are not read again");
    }
    (reloads, first)
}

struct Watch {
    reloader: Reloader,
    watches: Watches,
    stamps: Stamps,
    handed: Handed,
    failures: usize,
}

impl Watch {
    fn run(mut self, wakes: &Receiver<Wake>) {
        loop {
            let pause = match self.failures {
                0 => POLL,
                n => AGAIN.get(n - 1).copied().unwrap_or(POLL),
            };
            let mut asked = Asked::default();
            match wakes.recv_timeout(pause) {
                Ok(wake) => asked = gather(wake, wakes),
                Err(RecvTimeoutError::Timeout) => {
                    self.watches.renew();
                    if self.failures == 0 && self.stamps == self.reloader.stamps() {
                        continue;
                    }
                    asked.read = true;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut news = false;
            for der in &asked.learned {
                news |= self.reloader.learn(der);
            }
            if !asked.read && !news {
                continue;
            }
            // Stamps before the reload, so that the next poll sees a change during it.
            self.stamps = self.reloader.stamps();
            self.failures = if self.reloader.reload() {
                0
            } else {
                self.failures + 1
            };
            // What was learned is known now, and what was not may be handed over again.
            self.handed.lock().clear();
            for done in asked.waiting {
                let _ = done.send(());
            }
        }
    }
}

/// What the thread was woken for.
#[derive(Default)]
struct Asked {
    read: bool,
    waiting: Vec<oneshot::Sender<()>>,
    learned: Vec<Arc<[u8]>>,
}

/// Collects what the thread was woken for. If files changed, it waits until no more events come. If
/// there are only certificates to learn, it does not wait.
fn gather(first: Wake, wakes: &Receiver<Wake>) -> Asked {
    let end = Instant::now() + AT_MOST;
    let (mut asked, mut next) = (Asked::default(), Some(first));
    while let Some(wake) = next {
        match wake {
            Wake::Changed => asked.read = true,
            Wake::Learned(der) => asked.learned.push(der),
            Wake::Now(done) => {
                asked.read = true;
                asked.waiting.push(done);
                return asked;
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        next = match (asked.read, left.is_zero()) {
            (true, false) => wakes.recv_timeout(QUIET.min(left)).ok(),
            (false, false) => wakes.try_recv().ok(),
            (_, true) => None,
        };
    }
    asked
}

/// The inotify watches on the directories of the files.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// Each directory with the inode that is watched.
    directories: Vec<(PathBuf, Option<u64>)>,
}

impl Watches {
    fn new(reloader: &Reloader, sender: Sender<Wake>) -> Self {
        let paths = reloader.paths();
        let files = paths.files();
        let whole = paths.sources.directory.clone();
        let mut directories: Vec<PathBuf> = files.iter().map(|f| directory(f)).collect();
        directories.extend(whole.clone());
        directories.sort();
        directories.dedup();
        let names: Vec<_> = files
            .iter()
            .filter_map(|f| f.file_name().map(ToOwned::to_owned))
            .collect();
        let ours = move |path: &PathBuf| {
            let named = path
                .file_name()
                .is_some_and(|n| names.iter().any(|o| o == n));
            named || whole.as_ref().is_some_and(|whole| path.starts_with(whole))
        };
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let wakes = match &event {
                // Reads, the proxy's own included, change nothing. Every other event on a watched
                // name counts.
                Ok(event) if matches!(event.kind, EventKind::Access(access) if !written(access)) => {
                    false
                }
                Ok(event) => event.need_rescan() || event.paths.iter().any(&ours),
                Err(_) => true,
            };
            if wakes {
                let _ = sender.send(Wake::Changed);
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| warn!(%error, "no inotify: changes are found by the poll every 5 s"),
            )
            .ok();
        let directories = directories.into_iter().map(|d| (d, None)).collect();
        Self {
            watcher,
            directories,
        }
    }

    /// Watches the directories that are not watched yet, and again those that were removed and made
    /// anew.
    fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (directory, watched) in &mut self.directories {
            let inode = std::fs::metadata(&*directory).ok().map(|m| m.ino());
            if watched.is_some() && *watched == inode {
                continue;
            }
            if watched.is_some() {
                let _ = watcher.unwatch(directory); // the old one, wherever it is by now
            }
            *watched = match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => inode,
                Err(error) => {
                    debug!(directory = %directory.display(), %error, "not watched yet");
                    None
                }
            };
        }
    }
}

fn written(access: notify::event::AccessKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(access, AccessKind::Close(AccessMode::Write))
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
