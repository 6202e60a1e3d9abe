//! Local sockets in the state directory, where a process of this proxy is found.
//!
//! `control` is the main process's: who connects asks for a reload, and is told how it went.
//! No process takes it away from another one that lives, except from the one that it replaces.
//! `replaced-PID` is that of a process that was replaced. When its successor has crashed, the next
//! main process finds it there, and gets its slots. Whoever may not write in the directory cannot
//! connect. It never reads a byte from who connects.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::{Interval, interval};
use tracing::{info, warn};

use super::message::{Holds, Verdict, read};
use super::predecessors::Predecessor;

/// The main process's.
const CONTROL: &str = "control";
/// The first part of the name of a replaced process's.
const REPLACED: &str = "replaced-";

/// How often it is looked whether a door is still there.
const LOOK: Duration = Duration::from_secs(5);
/// Longest wait for a replaced process to say what it holds.
const ANSWERS: Duration = Duration::from_secs(5);
/// Longest wait for a verdict; the proxy waits 30 s for the new process.
const VERDICT: Duration = Duration::from_secs(60);
/// How often a reload is asked for, and the pause after a process that has ended or was replaced.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_millis(100);

/// One of them. Somebody may remove it: then it is opened anew.
#[derive(Debug)]
pub(super) struct Door {
    path: PathBuf,
    /// Nobody else can have this name.
    is_own: bool,
    open: Option<Open>,
    /// Why it is not open, as it was told.
    why: Option<String>,
    looks: Interval,
}

#[derive(Debug)]
struct Open {
    listener: UnixListener,
    file: (u64, u64),
}

impl Door {
    /// The main process's. With `takes` that of the process before it leads nowhere from now on;
    /// else one that leads to a living process stays that one's.
    pub(super) fn control(state_dir: &Path, takes: bool) -> Self {
        Self::new(state_dir.join(CONTROL), false, takes)
    }

    /// This process's, from the moment when it is replaced.
    pub(super) fn replaced(state_dir: &Path) -> Self {
        let name = format!("{REPLACED}{}", std::process::id());
        Self::new(state_dir.join(name), true, true)
    }

    fn new(path: PathBuf, is_own: bool, takes: bool) -> Self {
        let mut door = Self {
            path,
            is_own,
            open: None,
            why: None,
            looks: interval(LOOK),
        };
        door.open(takes);
        door
    }

    fn open(&mut self, takes: bool) {
        let path = self.path.display();
        match Open::at(&self.path, takes) {
            Ok(open) => (self.open, self.why) = (Some(open), None),
            Err(error) => {
                let why = error.to_string();
                match self.is_own {
                    _ if self.why.as_ref() == Some(&why) => {}
                    true => warn!(%path, why, "not found again if the new process crashes"),
                    false => warn!(%path, why, "nobody can ask for a reload, except by SIGHUP"),
                }
                (self.open, self.why) = (None, Some(why));
            }
        }
    }

    /// Whether who connects there comes to this process.
    pub(super) fn is_there(&self) -> bool {
        let is_at = |open: &Open| file_at(&self.path).is_ok_and(|found| found == open.file);
        self.open.as_ref().is_some_and(is_at)
    }

    /// Opens it, when it is time to look and it is not there.
    async fn tend(&mut self) {
        self.looks.tick().await;
        self.renew();
    }

    fn renew(&mut self) {
        if !self.is_there() {
            self.open(self.is_own);
            if self.is_there() {
                info!(path = %self.path.display(), "the socket is open now");
            }
        }
    }

    /// The next one who connects.
    async fn knock(&mut self) -> UnixStream {
        loop {
            tokio::select! {
                link = accepted(self.open.as_ref()) => return link,
                _ = self.looks.tick() => {}
            }
            self.renew();
        }
    }
}

impl Open {
    fn at(path: &Path, takes: bool) -> io::Result<Self> {
        if !takes && is_listened_to(path) {
            let why = "it leads to another noded-proxy, which uses the same directory";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
        gone(path)?;
        let listener = UnixListener::bind(path)?;
        // Whatever umask and directory allow.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let file = file_at(path)?;
        Ok(Self { listener, file })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.is_own {
            let _ = gone(&self.path); // or the next main process does it
        }
    }
}

async fn accepted(open: Option<&Open>) -> UnixStream {
    let Some(open) = open else {
        return std::future::pending().await;
    };
    loop {
        let accepted = open.listener.accept().await;
        match accepted.and_then(|(link, _)| link.into_std()) {
            Ok(link) => return link,
            Err(error) => {
                warn!(%error, "accept");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Waits for a knock at a door, if there is one.
pub(super) async fn knock(door: Option<&mut Door>) -> UnixStream {
    match door {
        Some(door) => door.knock().await,
        None => std::future::pending().await,
    }
}

/// Waits until it is time to look whether a door is still there, and looks.
pub(super) async fn tend(door: Option<&mut Door>) {
    match door {
        Some(door) => door.tend().await,
        None => std::future::pending().await,
    }
}

/// Whether somebody listens at this socket. It does not connect there, which would be a wish: a
/// socket of another kind is told so where there is somebody, and refused where there is nobody.
fn is_listened_to(path: &Path) -> bool {
    let tried = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    let kind = tried.err().and_then(|error| error.raw_os_error());
    kind == Some(rustix::io::Errno::PROTOTYPE.raw_os_error())
}

/// Which file is there.
fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
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
    fn whether_somebody_listens_is_found_out_without_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONTROL);
        assert!(!is_listened_to(&path));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(is_listened_to(&path));
        listener.set_nonblocking(true).unwrap();
        let nobody = listener.accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        // A process that another test has just forked may hold a copy until it is another program.
        let ended = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !is_listened_to(&path)
        });
        assert!(ended);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(!is_listened_to(&path));
    }

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
