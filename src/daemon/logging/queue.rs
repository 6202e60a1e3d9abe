//! A bounded queue of log lines in front of a writer that may stall.
//!
//! Putting a line in never waits. When the queue is full, the line is dropped and counted; when the
//! writer works again, a line in the log says how many there were. It never looks into a line.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tracing::warn;

/// Most bytes that wait: some thousand lines.
const MOST: usize = 1 << 20;

/// The queue; all clones are the same one.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    out: Mutex<Box<dyn Write + Send>>,
}

/// What waits, and what could not.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread that writes, once there is one.
    writer: Option<ThreadId>,
    /// That thread has lines in its hands.
    writing: bool,
    /// Lines that were lost, in all, and those that the log has not told yet.
    dropped: u64,
    untold: u64,
}

impl Waiting {
    /// Puts a line in, if there is room or if it is the writer's own.
    fn put(&mut self, line: &[u8], own: bool) {
        if self.bytes + line.len() > MOST && !own {
            self.drop_one();
        } else {
            self.bytes += line.len();
            self.lines.push_back(line.to_vec());
        }
    }

    fn drop_one(&mut self) {
        self.dropped += 1;
        self.untold += 1;
    }
}

impl Queue {
    /// A queue to this writer. Each line is written by one call, and at once, until
    /// [`Queue::in_background`].
    pub(super) fn to(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            out: Mutex::new(out),
        }))
    }

    /// From now on a thread writes.
    pub(super) fn in_background(&self) -> io::Result<()> {
        let queue = self.clone();
        let thread = thread::Builder::new().name("log".into());
        let thread = thread.spawn(move || queue.write_for_ever())?;
        self.waiting().writer = Some(thread.thread().id());
        Ok(())
    }

    /// Takes a line, and never waits for a reader once a thread writes.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        match waiting.writer {
            Some(writer) => {
                waiting.put(line, writer == thread::current().id());
                self.0.changed.notify_all();
            }
            None => {
                drop(waiting);
                if self.write(line).is_err() {
                    self.waiting().drop_one();
                }
            }
        }
    }

    /// Lines that were lost, in all.
    pub fn dropped(&self) -> u64 {
        self.waiting().dropped
    }

    /// Waits until everything is written, so long at most.
    pub(super) fn flush(&self, longest: Duration) {
        let waits = |waiting: &mut Waiting| {
            waiting.writer.is_some() && (waiting.writing || !waiting.lines.is_empty())
        };
        let waiting = self
            .0
            .changed
            .wait_timeout_while(self.waiting(), longest, waits);
        drop(waiting);
    }

    fn write_for_ever(&self) {
        loop {
            let mut works = false;
            for line in self.take() {
                works = self.write(&line).is_ok();
                if !works {
                    self.waiting().drop_one();
                }
            }
            if works {
                self.tell_dropped();
            }
            self.waiting().writing = false;
            self.0.changed.notify_all();
        }
    }

    /// All lines that wait, as soon as there are some.
    fn take(&self) -> VecDeque<Vec<u8>> {
        let empty = |waiting: &mut Waiting| waiting.lines.is_empty();
        let waited = self.0.changed.wait_while(self.waiting(), empty);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        (waiting.writing, waiting.bytes) = (true, 0);
        std::mem::take(&mut waiting.lines)
    }

    /// Says how many lines were lost, now that one was written. Its own line always has room.
    fn tell_dropped(&self) {
        let lines = std::mem::take(&mut self.waiting().untold);
        if lines > 0 {
            warn!(lines, "log lines were dropped: their reader had stalled");
        }
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut out = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line)?;
        out.flush()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

/// One call is one line, as `tracing_subscriber::fmt` writes them.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A writer whose lines go nowhere until somebody receives them.
    struct Stalls(SyncSender<Vec<u8>>);

    impl Write for Stalls {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (Queue, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        let queue = Queue::to(Box::new(Stalls(sender)));
        queue.in_background().unwrap();
        (queue, receiver)
    }

    #[test]
    fn a_writer_that_stalls_holds_nobody_up_and_the_lost_lines_are_counted() {
        let (queue, receiver) = stalled();
        let line = [b'x'; 1 << 10];
        for _ in 0..10_000 {
            queue.put(&line);
        }
        let dropped = queue.dropped();
        // Besides those that wait, the writer has some in its hands.
        assert!(
            (10_000 - 2 * 1024..=10_000 - 1024).contains(&dropped),
            "{dropped}"
        );
        let written = receiver.iter().take(10_000 - dropped as usize);
        assert!(written.into_iter().all(|written| written == line));
        queue.flush(Duration::from_secs(20));
        queue.put(b"again");
        assert_eq!(receiver.recv().unwrap(), b"again");
        assert_eq!(queue.dropped(), dropped);
    }

    #[test]
    fn the_end_waits_for_the_lines_and_not_for_ever() {
        let (queue, receiver) = stalled();
        queue.put(b"one");
        queue.put(b"two");
        queue.flush(Duration::from_millis(10));
        let reads = thread::spawn(move || receiver.iter().take(2).collect::<Vec<_>>());
        queue.flush(Duration::from_secs(20));
        assert_eq!(reads.join().unwrap(), [b"one", b"two"]);
    }

    #[test]
    fn before_there_is_a_thread_each_line_is_written_at_once() {
        let (sender, receiver) = sync_channel(1);
        let queue = Queue::to(Box::new(Stalls(sender)));
        queue.put(b"one");
        assert_eq!(receiver.try_recv().unwrap(), b"one");
        drop(receiver);
        queue.put(b"two");
        assert_eq!(queue.dropped(), 1, "nobody reads any more");
    }
}
