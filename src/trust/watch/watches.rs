//! The inotify watches. A file hangs on every directory and link on the way to it, so all of these
//! are watched: a link that is swung, a directory that is renamed or made anew is a change like any
//! other. It never reads what is in a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::super::fault::Fault;
use super::super::paths::Paths;
use super::trail::{Step, trail};
use super::writers::{Change, Writers};

/// The watches on all directories that lead to the files.
pub(super) struct Watches {
    watcher: Result<RecommendedWatcher, notify::Error>,
    files: Vec<PathBuf>,
    /// A directory all of whose files count.
    whole: Option<PathBuf>,
    /// Each watched directory, with its device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    names: Arc<Names>,
    fault: Option<Fault>,
}

/// What the entries of the watched directories mean.
#[derive(Debug, Default)]
struct Names(Mutex<Meaning>);

#[derive(Debug, Default)]
struct Meaning {
    /// The entries on the way to a file. Those that are files themselves: which ones.
    entries: HashMap<PathBuf, Vec<PathBuf>>,
    /// Where the directory is whose files all count.
    whole: Option<PathBuf>,
}

impl Watches {
    /// Watches nothing yet; `tell` is called for each change.
    pub(super) fn new(paths: &Paths, tell: impl Fn(Change) + Send + 'static) -> Self {
        let names = Arc::new(Names::default());
        let meaning = Arc::clone(&names);
        let watcher =
            notify::recommended_watcher(move |event: notify::Result<Event>| match event {
                Ok(event) if !event.need_rescan() => {
                    meaning.changes(event).into_iter().for_each(&tell)
                }
                Ok(_) | Err(_) => tell(Change::Unknown),
            });
        Self {
            watcher,
            files: paths.files(),
            whole: paths.sources.directory.clone(),
            watched: BTreeMap::new(),
            names,
            fault: None,
        }
    }

    /// Watches what leads to the files now. To be called before the files are read, so that no
    /// change is missed.
    pub(super) fn renew(&mut self) {
        let (matter, others) = self.look();
        if let Err(error) = &self.watcher {
            self.fault = Some(fault(None, error));
            return;
        }
        self.fault = None;
        let gone =
            |directory: &&PathBuf| !matter.contains(*directory) && !others.contains(*directory);
        let gone: Vec<PathBuf> = self.watched.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|directory| self.unwatch(directory));
        // If there are not enough watches, those that matter come first.
        for directory in &matter {
            self.watch(directory, true);
        }
        for directory in others.difference(&matter) {
            self.watch(directory, false);
        }
    }

    /// What is wrong with the watches.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.clone()
    }

    /// The files that are being written, by their configured paths.
    pub(super) fn held(&self, writers: &Writers) -> BTreeSet<PathBuf> {
        let meaning = self.names.lock();
        let mut held = BTreeSet::new();
        for path in writers.iter() {
            held.extend(meaning.entries.get(path).into_iter().flatten().cloned());
            if meaning.is_in_whole(path) {
                held.extend(self.whole.clone());
            }
        }
        held
    }

    /// The directories that lead to the files: those whose entries matter, and those above them.
    fn look(&self) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
        let mut meaning = Meaning::default();
        let (mut matter, mut others) = (BTreeSet::new(), BTreeSet::new());
        let mut add = |steps: &[Step], meaning: &mut Meaning| {
            for step in steps {
                let of = if step.matters {
                    &mut matter
                } else {
                    &mut others
                };
                of.insert(step.directory.clone());
                meaning.entries.entry(step.entry.clone()).or_default();
            }
        };
        for file in &self.files {
            let steps = trail(file);
            add(&steps, &mut meaning);
            if let Some(last) = steps.last() {
                let files = meaning.entries.entry(last.entry.clone()).or_default();
                files.push(file.clone());
            }
        }
        if let Some(whole) = &self.whole {
            let steps = trail(whole);
            add(&steps, &mut meaning);
            for link in links_in(whole) {
                add(&trail(&link), &mut meaning);
            }
            meaning.whole = steps.last().map(|last| last.entry.clone());
        }
        matter.extend(meaning.whole.clone());
        *self.names.lock() = meaning;
        (matter, others)
    }

    fn watch(&mut self, directory: &Path, matters: bool) {
        let found = fs::metadata(directory).map(|found| (found.dev(), found.ino()));
        let Ok(found) = found else {
            return self.unwatch(directory); // what is above it is watched
        };
        if self.watched.get(directory) == Some(&found) {
            return;
        }
        self.unwatch(directory); // the old one, wherever it is by now
        let Ok(watcher) = &mut self.watcher else {
            return;
        };
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned(), found);
            }
            Err(error) => {
                let exhausted = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
                if self.fault.is_none() && (matters || exhausted) && directory.exists() {
                    self.fault = Some(fault(Some(directory), &error));
                }
            }
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        if self.watched.remove(directory).is_some()
            && let Ok(watcher) = &mut self.watcher
        {
            let _ = watcher.unwatch(directory); // the kernel may have done it already
        }
    }
}

fn fault(path: Option<&Path>, error: &notify::Error) -> Fault {
    let why = match &error.kind {
        notify::ErrorKind::Io(error) => error.to_string(),
        notify::ErrorKind::MaxFilesWatch => "the limit on inotify watches is reached".into(),
        other => format!("{other:?}"),
    };
    let path = path.map(Path::to_owned);
    Fault::Watches { path, why }
}

/// The symbolic links in a directory.
fn links_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.map(|entry| entry.path()).collect()
}

impl Names {
    /// What an event means for the files; most mean nothing.
    fn changes(&self, event: Event) -> Vec<Change> {
        let meaning = self.lock();
        let ours = event.paths.into_iter().filter(|path| meaning.counts(path));
        ours.filter_map(|path| change(event.kind, path)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Meaning> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meaning {
    fn counts(&self, path: &Path) -> bool {
        self.entries.contains_key(path) || self.is_in_whole(path)
    }

    fn is_in_whole(&self, path: &Path) -> bool {
        self.whole.is_some() && path.parent() == self.whole.as_deref()
    }
}

fn change(kind: EventKind, path: PathBuf) -> Option<Change> {
    Some(match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Written(path),
        EventKind::Access(_) => return None, // reads, the proxy's own included
        EventKind::Modify(ModifyKind::Data(_)) => Change::Writing(path),
        EventKind::Modify(ModifyKind::Metadata(_)) => Change::Touched(path),
        EventKind::Create(CreateKind::File) if will_be_closed(&path) => Change::Writing(path),
        _ => Change::Replaced(path),
    })
}

/// Whether somebody made this file by opening it. A link is made without, and never closed.
fn will_be_closed(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_file() && found.nlink() == 1)
}
