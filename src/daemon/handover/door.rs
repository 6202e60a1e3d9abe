//! Local sockets in the state directory, where a process of this proxy is found.
//!
//! `control` is the main process's: who connects asks for a reload, and is told how it went.
//! `replaced-PID` is that of a process that was replaced. When its successor has crashed, the next
//! main process finds it there, and gets its slots. Whoever may not write in the directory cannot
//! connect. It never reads a byte from who connects.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tracing::{info, warn};

use super::message::{Holds, Verdict, read};
use super::predecessors::Predecessor;

/// The main process's.
const CONTROL: &str = "control";
/// The first part of the name of a replaced process's.
const REPLACED: &str = "replaced-";

/// Longest wait for a replaced process to say what it holds.
const ANSWERS: Duration = Duration::from_secs(5);
/// Longest wait for a verdict; the proxy waits 30 s for the new process.
const VERDICT: Duration = Duration::from_secs(60);
/// How often a reload is asked for, and the pause after a process that has ended or was replaced.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_millis(100);

/// An open one.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Nobody else can have this name.
    is_own: bool,
}

impl Door {
    /// The main process's. That of the process before it leads nowhere from now on.
    pub(super) fn control(state_dir: &Path) -> io::Result<Self> {
        Self::open(state_dir.join(CONTROL), false)
    }

    /// This process's, from the moment when it is replaced.
    pub(super) fn replaced(state_dir: &Path) -> io::Result<Self> {
        let name = format!("{REPLACED}{}", std::process::id());
        Self::open(state_dir.join(name), true)
    }

    fn open(path: PathBuf, is_own: bool) -> io::Result<Self> {
        gone(&path)?;
        let listener = UnixListener::bind(&path)?;
        // Whatever umask and directory allow.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path,
            is_own,
        })
    }

    /// The next one who connects.
    pub(super) async fn knock(&self) -> UnixStream {
        loop {
            let accepted = self.listener.accept().await;
            match accepted.and_then(|(link, _)| link.into_std()) {
                Ok(link) => return link,
                Err(error) => {
                    warn!(%error, path = %self.path.display(), "accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.is_own {
            let _ = gone(&self.path); // or the next main process does it
        }
    }
}

/// Waits for a knock at a door, if there is one.
pub(super) async fn knock(door: Option<&Door>) -> UnixStream {
    match door {
        Some(door) => door.knock().await,
        None => std::future::pending().await,
    }
}

fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Those that were replaced by a process that has crashed, and still serve.
pub(in crate::daemon) fn left_behind(state_dir: &Path) -> Vec<Predecessor> {
    let Ok(entries) = fs::read_dir(state_dir) else {
        return Vec::new(); // the keeper tells what is wrong with it
    };
    let is_door = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(REPLACED)
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.filter(is_door).filter_map(connected);
    let found: Vec<_> = found.collect(); // all of them before the first is waited for
    let known = found
        .into_iter()
        .filter_map(|(path, link)| ask(&path, link));
    known.collect()
}

/// A link to the process behind this one; none if it has ended.
fn connected(path: PathBuf) -> Option<(PathBuf, UnixStream)> {
    match UnixStream::connect(&path) {
        Ok(link) => Some((path, link)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let _ = gone(&path); // it only looks untidy
            None
        }
        Err(error) => {
            warn!(%error, path = %path.display(), "a replaced process cannot be asked");
            None
        }
    }
}

/// What that process holds.
fn ask(path: &Path, link: UnixStream) -> Option<Predecessor> {
    let told = link.set_read_timeout(Some(ANSWERS));
    match told.and_then(|()| read::<Holds>(&link)) {
        Ok(Some(holds)) => {
            let Holds { pid, slots, .. } = holds;
            info!(
                pid,
                slots, "found a process that was replaced and still serves"
            );
            Some(Predecessor::new(holds, link))
        }
        Ok(None) => None,
        Err(error) => {
            warn!(%error, path = %path.display(), "a replaced process does not say what it holds");
            None
        }
    }
}

/// Asks the main process to hand over. The process ID of the new one, or why there is none.
pub fn ask_for_handover(state_dir: &Path) -> Result<u32, String> {
    ask_again(state_dir, || std::thread::sleep(AGAIN))
}

fn ask_again(state_dir: &Path, mut pause: impl FnMut()) -> Result<u32, String> {
    let path = state_dir.join(CONTROL);
    let mut why = "the proxy ended before it said how it went".to_owned();
    for _ in 0..TRIES {
        let link = match UnixStream::connect(&path) {
            Ok(link) => link,
            Err(error) => {
                // One that has just taken over opens it in a moment.
                why = format!("no proxy answers at {}: {error}", path.display());
                pause();
                continue;
            }
        };
        let told = link.set_read_timeout(Some(VERDICT));
        match told.and_then(|()| read(&link)) {
            Ok(Some(Verdict::Ready { pid, .. })) => return Ok(pid),
            Ok(Some(Verdict::Failed(why))) => return Err(format!("nothing has changed: {why}")),
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                return Err(format!("no verdict came: {error}"));
            }
            // It was replaced just now, for somebody else: the new one is asked.
            Ok(None) | Err(_) => pause(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::super::message::write;
    use super::*;

    #[test]
    fn a_main_process_that_has_not_opened_its_door_yet_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONTROL);
        let bind = || std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(bind()); // that of the process before it
        let mut answering = None;
        let told = ask_again(dir.path(), || {
            gone(&path).unwrap();
            let listener = bind();
            answering = Some(std::thread::spawn(move || {
                let (link, _) = listener.accept().unwrap();
                let rules = None;
                write(&link, &Verdict::Ready { pid: 7, rules }).unwrap();
            }));
        });
        assert_eq!(told, Ok(7));
        answering.unwrap().join().unwrap();
    }
}
