//! Looks at noded's port every few seconds: who listens there, and does its guard hold? No
//! connection is opened for it, so noded's log has nothing of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

use super::health::Guard;
use super::noded::Noded;
use super::settings::GuardWatch;
use crate::node::files::{self, FileContent};
use crate::node::sockets;
use rules::guard::{self, Missing, Said};
use rules::noded::{look, only_root_listens};

/// Time from one look to the next.
const EVERY: Duration = Duration::from_secs(2);
/// The same while something is wrong: whoever has mended it looks at once whether it helped.
const SOON: Duration = Duration::from_millis(200);
/// Most that a guard says of itself, in bytes.
const MOST: usize = 4096;

/// Looks at once, and then again and again in a task of its own.
pub(super) fn start(noded: &Arc<Noded>) {
    noded.look();
    let noded = Arc::clone(noded);
    tokio::spawn(async move {
        loop {
            let well = noded.health.is_well();
            sleep(if well { EVERY } else { SOON }).await;
            let looking = Arc::clone(&noded);
            // Not on this thread: where the kernel cannot be asked, /proc/net/tcp takes
            // milliseconds.
            let _ = tokio::task::spawn_blocking(move || looking.look()).await;
        }
    });
}

impl Noded {
    /// One look.
    pub(super) fn look(&self) {
        let address = self.settings.address;
        let seen = sockets::listening()
            .map(|all| look(&all, address, sockets::trusted()))
            .map_err(|error| error.to_string());
        let unprivileged = sockets::unprivileged_ports();
        let roots = only_root_listens(&seen, address, unprivileged);
        self.health.note_roots_port(roots);
        let guard = match &self.settings.guard {
            GuardWatch::NotNeeded => Err(Guard::NotNeeded),
            GuardWatch::Off => Err(Guard::Off),
            GuardWatch::Says(path) => read(path, address.port()).map_err(Guard::Missing),
        };
        self.health.note_look(seen, guard);
    }
}

/// What the guard of this port says of itself now.
pub fn read(path: &Path, port: u16) -> Result<Said, Missing> {
    let text = match files::read(path, MOST) {
        FileContent::Content(text) => String::from_utf8_lossy(&text).into_owned(),
        FileContent::Absent => return Err(guard::absent(why(path).as_deref())),
        FileContent::TooLarge => return Err(Missing::Unreadable("too long".into())),
        FileContent::Unreadable(why) => return Err(Missing::Unreadable(why)),
    };
    guard::judge(&text, port, now())
}

/// Where a guard that has failed leaves the reason, beside what it says while it holds.
pub fn why_file(said: &Path) -> PathBuf {
    said.with_extension("why")
}

fn why(said: &Path) -> Option<String> {
    match files::read(&why_file(said), MOST) {
        FileContent::Content(text) => Some(String::from_utf8_lossy(&text).into_owned()),
        FileContent::Absent | FileContent::TooLarge | FileContent::Unreadable(_) => None,
    }
}

/// The machine's monotonic clock.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}
