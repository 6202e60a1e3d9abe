//! A compression tool that runs beside the channel, with the rights of the channel's process.
//!
//! It gets the peer's bytes on its standard input, and no shell is between. What it says on
//! standard error is told. It never outlives its handle.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;

use super::report::Reporter;

/// Longest line of a tool that is told.
const LINE: u64 = 1000;

/// A running tool.
pub(super) struct Tool {
    name: String,
    child: Child,
}

impl Tool {
    /// Starts it.
    pub(super) fn start(
        name: &str,
        arguments: &[&str],
        reporter: &Arc<Reporter>,
    ) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.map_err(|error| format!("compression tool {name}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        if let Some(errors) = child.stderr.take() {
            let reporter = Arc::clone(reporter);
            let mut errors = BufReader::new(errors);
            thread::spawn(move || {
                let mut line = Vec::new();
                while matches!(
                    (&mut errors).take(LINE).read_until(b'\n', &mut line),
                    Ok(1..)
                ) {
                    let text = String::from_utf8_lossy(&line);
                    reporter.says(text.trim_end().to_owned());
                    line.clear();
                }
            });
        }
        let name = name.to_owned();
        match (input, output) {
            (Some(input), Some(output)) => Ok((Self { name, child }, input, output)),
            _ => Err(format!("compression tool {name}: no pipes")),
        }
    }

    /// Waits for its end, which must be a good one.
    pub(super) fn finish(mut self) -> Result<(), String> {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("compression tool {}: {status}", self.name)),
            Err(error) => Err(format!("compression tool {}: {error}", self.name)),
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
