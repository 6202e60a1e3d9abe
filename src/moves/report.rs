//! What the channel's process tells the process that started it. It decides nothing.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::talk::{Event, line};

/// So many refusals have a line; a stranger must not drive the others out of `recent_output`.
const REFUSALS: usize = 5;

/// The first report of progress, and the time between two, as Ganeti asks its `dd`.
const FIRST: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_secs(5);

/// Tells events, and counts bytes.
pub(super) struct Reporter {
    out: Mutex<UnixStream>,
    bytes: AtomicU64,
    began: OnceLock<Instant>,
    refused: AtomicUsize,
}

impl Reporter {
    /// Tells them here.
    pub(super) fn new(out: UnixStream) -> Self {
        Self {
            out: Mutex::new(out),
            bytes: AtomicU64::new(0),
            began: OnceLock::new(),
            refused: AtomicUsize::new(0),
        }
    }

    /// Tells one. If nobody listens any more, this process is about to end.
    pub(super) fn tell(&self, event: &Event) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(&line(event));
    }

    /// A line for `recent_output`.
    pub(super) fn says(&self, text: String) {
        self.tell(&Event::Says(text));
    }

    /// Somebody was refused.
    pub(super) fn refuses(&self, peer: IpAddr, why: &str) {
        match self.refused.fetch_add(1, Ordering::Relaxed) {
            ..REFUSALS => self.says(format!("noded-proxy: refused {peer}: {why}")),
            REFUSALS => self.says("noded-proxy: more are refused; no line for each".into()),
            _ => {}
        }
    }

    /// The transfer begins. From now on progress is told.
    pub(super) fn begins(self: &Arc<Self>, peer: IpAddr, ours: bool) {
        self.tell(&Event::Begins { peer, ours });
        if self.began.set(Instant::now()).is_ok() {
            let own = Arc::clone(self);
            thread::spawn(move || {
                thread::sleep(FIRST);
                loop {
                    own.progress();
                    thread::sleep(EACH);
                }
            });
        }
    }

    /// So many more bytes have passed.
    pub(super) fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How far it is.
    pub(super) fn progress(&self) {
        let Some(began) = self.began.get() else {
            return;
        };
        let after = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.tell(&Event::Progress { bytes, after });
    }
}
