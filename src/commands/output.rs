//! How commands print. A terminal obeys nothing in a text that somebody else chose. When the reader of standard output leaves (`noded-proxy status | head -1`),
//! the program ends quietly; when output is lost otherwise, it says so and ends with status 1. Nothing here
//! ever panics.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use rules::shown::inert;

/// As a shell reports a program that SIGPIPE has ended: 128 and 13.
const READER_LEFT: i32 = 141;

/// Prints to standard output.
pub(crate) fn print(what: Arguments<'_>) {
    let text = what.to_string();
    after(io::stdout().lock().write_all(inert(&text).as_bytes()));
}

/// Prints a line to standard output.
pub(crate) fn line(what: Arguments<'_>) {
    print(format_args!("{what}\n"));
}

/// Prints bytes to standard output as they are.
pub(crate) fn bytes(what: &[u8]) {
    after(io::stdout().lock().write_all(what));
}

/// Prints a line to standard error. If nobody reads it, it is lost.
pub(crate) fn error_line(what: Arguments<'_>) {
    let text = format!("{what}\n");
    let _ = io::stderr().lock().write_all(inert(&text).as_bytes());
}

#[allow(
    clippy::exit,
    reason = "a command whose output is lost has nothing left to do"
)]
fn after(printed: io::Result<()>) {
    match printed.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(READER_LEFT),
        Err(error) => {
            error_line(format_args!("noded-proxy: standard output: {error}"));
            std::process::exit(1);
        }
        Ok(()) => {}
    }
}
