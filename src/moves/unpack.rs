//! From the stream to the import command's bytes: decompressed as asked, and behind the word of
//! Ganeti. Nothing passes before the word is right and this connection has won; and the end of the
//! peer's bytes is never more than a result that the caller gets.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::ChildStdin;
use std::sync::Arc;
use std::thread;

use super::carry::{Fault, Incoming, Next, Peer};
use super::order::Compress;
use super::report::Reporter;
use super::tool::Tool;

/// Zeros that are written at once.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// What stands between the peer and the import command.
pub(super) struct Gate {
    /// What must come first.
    start: Vec<u8>,
    seen: Vec<u8>,
    /// Called once, when all of it has come: is the transfer this connection's?
    claim: Option<Box<dyn FnOnce() -> Result<File, String> + Send>>,
    to: Option<File>,
    reporter: Arc<Reporter>,
}

impl Gate {
    /// A gate that opens behind `start`, and then asks `claim` for the place where the data go.
    pub(super) fn new(
        start: Vec<u8>,
        claim: impl FnOnce() -> Result<File, String> + Send + 'static,
        reporter: &Arc<Reporter>,
    ) -> Self {
        Self {
            start,
            seen: Vec::new(),
            claim: Some(Box::new(claim)),
            to: None,
            reporter: Arc::clone(reporter),
        }
    }

    /// Opens at once if nothing must come first.
    pub(super) fn open(&mut self) -> Result<(), String> {
        match self.start.is_empty() && self.to.is_none() {
            true => self.pass(&[]),
            false => Ok(()),
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if self.to.is_none() {
            let missing = self.start.len() - self.seen.len();
            let (first, rest) = bytes.split_at(missing.min(bytes.len()));
            self.seen.extend_from_slice(first);
            if !self.start.starts_with(&self.seen) {
                return Err("Magic value mismatch".into());
            }
            if self.seen.len() < self.start.len() {
                return Ok(());
            }
            if let Some(claim) = self.claim.take() {
                self.to = Some(claim()?);
            }
            bytes = rest;
        }
        self.reporter.count(bytes.len() as u64);
        match &mut self.to {
            Some(to) => to.write_all(bytes).map_err(|error| unwritten(&error)),
            None => Err("the connection has no right to write".into()),
        }
    }

    fn zeros(&mut self, mut run: u64) -> Result<(), String> {
        while run > 0 {
            let part = run.min(ZEROS.len() as u64);
            self.pass(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())])?;
            run -= part;
        }
        Ok(())
    }

    /// Whether this connection has won.
    pub(super) fn is_mine(&self) -> bool {
        self.to.is_some()
    }

    /// Whether the word had come at all.
    fn is_open(&self) -> Result<(), String> {
        match self.to {
            Some(_) => Ok(()),
            None => Err("the stream ended before the magic value".into()),
        }
    }
}

fn unwritten(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::BrokenPipe => "the import command reads no more".into(),
        _ => format!("the import's data: {error}"),
    }
}

/// Passes the whole stream to the gate. Returns the channel when, and only when, it is whole.
pub(super) fn unpack(
    mut channel: Peer,
    mut incoming: Incoming,
    compress: &Compress,
    gate: &mut Gate,
) -> Result<Peer, (Option<Peer>, String)> {
    match compress {
        Compress::None => loop {
            let passed = match incoming.next(&mut channel) {
                Ok(Next::Bytes(bytes)) => gate.pass(bytes),
                Ok(Next::Zeros(run)) => gate.zeros(run),
                Ok(Next::End) => match gate.is_open() {
                    Ok(()) => return Ok(channel),
                    Err(why) => Err(why),
                },
                Err(fault) => Err(fault.to_string()),
            };
            if let Err(why) = passed {
                return Err((Some(channel), why));
            }
        },
        Compress::Program { name, unpack, .. } => {
            let started = Tool::start(name, unpack, &gate.reporter);
            let (tool, input, mut output) = started.map_err(|why| (None, why))?;
            let pump = thread::spawn(move || pump(channel, incoming, input));
            let mut buffer = vec![0; 1 << 20];
            loop {
                match output.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => gate.pass(&buffer[..count]).map_err(|why| (None, why))?,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err((None, format!("{name}: {error}"))),
                }
            }
            // The tool has ended. Whether the stream is whole, the pump knows alone.
            let (channel, whole) = pump
                .join()
                .map_err(|_| (None, "a thread broke down".into()))?;
            let good = whole
                .and_then(|()| tool.finish())
                .and_then(|()| gate.is_open());
            match good {
                Ok(()) => Ok(channel),
                Err(why) => Err((Some(channel), why)),
            }
        }
    }
}

/// Gives a tool the whole stream. Its input ends in any case; the result says what that end is.
fn pump(
    mut channel: Peer,
    mut incoming: Incoming,
    mut input: ChildStdin,
) -> (Peer, Result<(), String>) {
    let gone = |error| format!("the decompression tool takes no more: {error}");
    let whole = loop {
        let passed = match incoming.next(&mut channel) {
            Ok(Next::Bytes(bytes)) => input.write_all(bytes).map_err(gone),
            Ok(Next::Zeros(run)) => zeros(&mut input, run).map_err(gone),
            Ok(Next::End) => break Ok(()),
            Err(fault) => Err(Fault::to_string(&fault)),
        };
        if passed.is_err() {
            break passed;
        }
    };
    (channel, whole)
}

fn zeros(input: &mut ChildStdin, mut run: u64) -> std::io::Result<()> {
    while run > 0 {
        let part = run.min(ZEROS.len() as u64);
        input.write_all(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())])?;
        run -= part;
    }
    Ok(())
}
