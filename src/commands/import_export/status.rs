//! The status file that Ganeti reads, and the log beside it, which is standard error: Ganeti has
//! opened a file in its log directory there. It decides nothing.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Mode;
use tokio::time::{Instant, sleep};

use crate::moves::status::Status;
use crate::node::directory::Directory;

/// Lines of output alone do not have it written more often.
const SELDOM: Duration = Duration::from_secs(1);

/// The last word is tried so often, a second apart.
const TRIES: u32 = 10;

/// The file.
pub(super) struct StatusFile {
    path: PathBuf,
    status: Status,
    written: Instant,
    /// Lines were said since.
    stale: bool,
}

impl StatusFile {
    /// At this path.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            status: Status::new(now()),
            written: Instant::now(),
            stale: false,
        }
    }

    /// Changes what it says, and writes it.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status);
        let _ = self.write(); // it is told, and tried again
    }

    /// One more line, for the log, too. It is in the file when that is [`StatusFile::due`].
    pub(super) fn say(&mut self, line: &str) {
        log(line);
        self.status.say(line);
        self.stale = true;
    }

    /// When it must be written, if it must.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stale.then(|| self.written + SELDOM)
    }

    /// Whether a verified peer was there.
    pub(super) fn is_connected(&self) -> bool {
        self.status.is_connected()
    }

    /// Whether it ended well.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Says the last word. Without it Ganeti's job waits for ever, so it is tried for a while; and if
    /// it cannot be written, what was there before goes: then the job fails.
    pub(super) async fn last(&mut self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status);
        for _ in 0..TRIES {
            match self.write() {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return, // nobody reads it
                Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
        if let Err(error) = fs::remove_file(&self.path).and_then(|()| self.write()) {
            log(&format!("{}: {error}", self.path.display()));
        }
    }

    fn write(&mut self) -> io::Result<()> {
        (self.written, self.stale) = (Instant::now(), false);
        let text = self.status.text(now());
        let name = self
            .path
            .file_name()
            .map(OsString::from)
            .unwrap_or_default();
        let parent = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let written =
            Directory::open(parent).and_then(|dir| dir.replace(&name, text.as_bytes(), Mode::RUSR));
        if let Err(error) = &written {
            log(&format!("{}: {error}", self.path.display()));
        }
        written
    }
}

/// A line of the log.
pub(super) fn log(line: &str) {
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    errln!("{time}: {}", rules::shown::inert_line(line));
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
