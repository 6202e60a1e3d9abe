//! When to read the files again: inotify on the directories, SIGHUP, and a slow poll behind both.
//!
//! Ganeti usually writes a temporary file and renames it over the old one, but `renew-crypto` copies in
//! place with scp, so the *directories* are watched and both kinds of event count. Events are gathered
//! until it is quiet, then there is one reload. One thread does all of it: it owns the [`Reloader`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::reload::Reloader;
use super::{Snapshot, Store};

/// No event for this long, and the files are read.
const QUIET: Duration = Duration::from_millis(20);
/// Events without end do not put the reading off for longer than this.
const AT_MOST: Duration = Duration::from_millis(60);
/// Pauses before a faulty file is read again; after the last one the poll takes over.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
];
/// The poll that backs inotify up.
const POLL: Duration = Duration::from_secs(5);

/// Asks the watching thread for a reload.
#[derive(Debug, Clone)]
pub struct Reloads {
    sender: Sender<Wake>,
}

#[derive(Debug)]
enum Wake {
    /// A watched file may have changed.
    Changed,
    /// Read now, and say when it is done.
    Now(oneshot::Sender<()>),
}

impl Reloads {
    /// Reads the files now; returns when the result is in force.
    pub async fn now(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Wake::Now(done)).is_ok() {
            let _ = wait.await;
        }
    }
}

/// Loads once, then watches in a thread of its own until all [`Reloads`] are gone.
/// Returns the handle and the first snapshot.
pub fn spawn(mut reloader: Reloader, store: &Arc<Store>) -> (Reloads, Arc<Snapshot>) {
    let (sender, wakes) = channel();
    let mut watches = Watches::new(&reloader, sender.clone());
    watches.renew(); // before the first reading, so that no change falls between
    let stamps = reloader.stamps();
    let good = reloader.reload();
    let first = store.snapshot();
    let watch = move || {
        Watch {
            reloader,
            watches,
            stamps,
            failures: usize::from(!good),
        }
        .run(&wakes)
    };
    if let Err(error) = thread::Builder::new().name("trust".into()).spawn(watch) {
        warn!(%error, "no thread for watching the files: they are not read again");
    }
    (Reloads { sender }, first)
}

struct Watch {
    reloader: Reloader,
    watches: Watches,
    stamps: Vec<Option<super::files::Stamp>>,
    failures: usize,
}

impl Watch {
    fn run(mut self, wakes: &Receiver<Wake>) {
        loop {
            let pause = match self.failures {
                0 => POLL,
                n => AGAIN.get(n - 1).copied().unwrap_or(POLL),
            };
            let mut waiting = Vec::new();
            match wakes.recv_timeout(pause) {
                Ok(Wake::Changed) => waiting = gather(wakes),
                Ok(Wake::Now(done)) => waiting.push(done),
                Err(RecvTimeoutError::Timeout) => {
                    self.watches.renew();
                    if self.failures == 0 && self.stamps == self.reloader.stamps() {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Stamps before the reading: a change in between is seen by the next poll.
            self.stamps = self.reloader.stamps();
            self.failures = if self.reloader.reload() {
                0
            } else {
                self.failures + 1
            };
            for done in waiting {
                let _ = done.send(());
            }
        }
    }
}

/// Waits until it is quiet; returns who waits for the reload.
fn gather(wakes: &Receiver<Wake>) -> Vec<oneshot::Sender<()>> {
    let end = Instant::now() + AT_MOST;
    let mut waiting = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match wakes.recv_timeout(QUIET.min(left)) {
            Ok(Wake::Changed) if !left.is_zero() => {}
            Ok(Wake::Now(done)) => {
                waiting.push(done);
                return waiting;
            }
            Ok(Wake::Changed) | Err(_) => return waiting,
        }
    }
}

/// The inotify watches on the directories of the files.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    directories: Vec<(PathBuf, bool)>,
}

impl Watches {
    fn new(reloader: &Reloader, sender: Sender<Wake>) -> Self {
        let files: Vec<PathBuf> = reloader.watched().collect();
        let mut directories: Vec<PathBuf> = files.iter().map(|f| directory(f)).collect();
        directories.sort();
        directories.dedup();
        let names: Vec<_> = files
            .iter()
            .filter_map(|f| f.file_name().map(ToOwned::to_owned))
            .collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let ours = match &event {
                // Reading (our own too) says nothing; everything else on our names does.
                Ok(event) if matches!(event.kind, EventKind::Access(access) if !written(access)) => {
                    false
                }
                Ok(event) => {
                    event.need_rescan()
                        || event
                            .paths
                            .iter()
                            .filter_map(|p| p.file_name())
                            .any(|n| names.iter().any(|o| o == n))
                }
                Err(_) => true,
            };
            if ours {
                let _ = sender.send(Wake::Changed);
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| warn!(%error, "no inotify: changes are found by the poll every 5 s"),
            )
            .ok();
        let directories = directories.into_iter().map(|d| (d, false)).collect();
        Self {
            watcher,
            directories,
        }
    }

    /// Watches the directories that are not watched yet; one that was removed and made again is watched anew.
    fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (directory, watched) in &mut self.directories {
            if *watched && directory.is_dir() {
                continue;
            }
            *watched = match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => true,
                Err(error) => {
                    debug!(directory = %directory.display(), %error, "not watched yet");
                    false
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
