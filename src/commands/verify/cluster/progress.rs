//! How far it is, on one line of standard error that is rubbed out at the end; nothing where that is
//! no terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// To the beginning of the line, and rubs it out.
const RUB_OUT: &str = "\r\x1b[K";

/// The line.
pub(super) struct Progress {
    all: usize,
    /// The number that is shown, and where: a smaller number never follows a larger one.
    shown: Mutex<(usize, Box<dyn Write + Send>)>,
}

impl Progress {
    pub(super) fn begin(all: usize) -> Self {
        let stderr = io::stderr();
        match stderr.is_terminal() {
            true => Self::on(all, stderr),
            false => Self::on(all, io::sink()),
        }
    }

    fn on(all: usize, to: impl Write + Send + 'static) -> Self {
        let progress = Self {
            all,
            shown: Mutex::new((0, Box::new(to))),
        };
        progress.add(0);
        progress
    }

    pub(super) fn one_more(&self) {
        self.add(1);
    }

    fn add(&self, more: usize) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.0 += more;
        let text = format!("{RUB_OUT}{} of {} nodes answered", shown.0, self.all);
        let _ = shown.1.write_all(text.as_bytes()); // a terminal that is gone stops nobody
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let shown = self.shown.get_mut();
        let (_, to) = shown.unwrap_or_else(PoisonError::into_inner);
        let _ = to.write_all(RUB_OUT.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// A terminal that remembers; a broken one takes nothing.
    #[derive(Clone, Default)]
    struct Terminal {
        text: Arc<Mutex<Vec<u8>>>,
        is_broken: bool,
    }

    impl Write for Terminal {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if self.is_broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.text.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
            text.split(RUB_OUT).skip(1).map(str::to_owned).collect()
        }
    }

    #[test]
    fn each_node_that_has_answered_is_counted_in_order_and_the_line_is_rubbed_out_at_the_end() {
        let terminal = Terminal::default();
        let progress = Progress::on(40, terminal.clone());
        assert_eq!(terminal.lines(), ["0 of 40 nodes answered"]);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..5).for_each(|_| progress.one_more()));
            }
        });
        let mut expected: Vec<String> = (0..=40)
            .map(|done| format!("{done} of 40 nodes answered"))
            .collect();
        assert_eq!(terminal.lines(), expected);
        drop(progress);
        expected.push(String::new());
        assert_eq!(terminal.lines(), expected);
    }

    #[test]
    fn a_terminal_that_is_gone_stops_nobody() {
        let terminal = Terminal {
            is_broken: true,
            ..Terminal::default()
        };
        let progress = Progress::on(2, terminal.clone());
        progress.one_more();
        drop(progress);
        assert_eq!(terminal.lines(), [""; 0]);
    }
}
