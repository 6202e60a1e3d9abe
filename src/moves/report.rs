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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// All that was told, once nobody tells any more.
    fn told(mut from: UnixStream, reporter: Reporter) -> Vec<Event> {
        drop(reporter);
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn progress_is_told_once_the_transfer_has_begun_with_all_bytes_until_then() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reporter = Reporter::new(ours);
        reporter.count(5);
        reporter.progress();
        let began = Instant::now()
            .checked_sub(Duration::from_millis(1500))
            .unwrap();
        reporter.began.set(began).unwrap();
        reporter.progress();
        reporter.count(7);
        reporter.progress();
        let told = told(theirs, reporter);
        let of = |event: &Event| match event {
            Event::Progress { bytes, after } => (*bytes, *after >= 1500),
            other => panic!("{other:?}"),
        };
        let told: Vec<(u64, bool)> = told.iter().map(of).collect();
        assert_eq!(told, [(5, true), (12, true)], "nothing before it began");
    }

    #[test]
    fn of_many_refusals_the_first_five_have_a_line_and_one_says_that_there_are_more() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reporter = Reporter::new(ours);
        for _ in 0..20 {
            reporter.refuses(IpAddr::from([192, 0, 2, 1]), "no");
        }
        let told = told(theirs, reporter);
        let refused = Event::Says("noded-proxy: refused 192.0.2.1: no".into());
        let more = Event::Says("noded-proxy: more are refused; no line for each".into());
        let expected = [&vec![refused; REFUSALS][..], &[more]].concat();
        assert_eq!(told, expected);
    }
}
