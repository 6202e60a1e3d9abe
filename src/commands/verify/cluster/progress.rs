//! How far it is, on one line of standard error that is rubbed out at the end; nothing where that is
//! no terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// To the beginning of the line, and rubs it out.
const RUB_OUT: &str = "\r\x1b[K";

/// The line.
pub(super) struct Progress {
    done: AtomicUsize,
    all: usize,
    is_shown: bool,
}

impl Progress {
    pub(super) fn begin(all: usize) -> Self {
        let progress = Self {
            done: AtomicUsize::new(0),
            all,
            is_shown: io::stderr().is_terminal(),
        };
        progress.show(&progress.text(0));
        progress
    }

    pub(super) fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.show(&self.text(done));
    }

    fn text(&self, done: usize) -> String {
        format!("{RUB_OUT}{done} of {} nodes answered", self.all)
    }

    fn show(&self, text: &str) {
        if self.is_shown {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show(RUB_OUT);
    }
}
