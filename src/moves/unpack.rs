//! From the stream to the import command's bytes: decompressed as asked, and behind the word of
//! Ganeti. Nothing passes before the word is right and this connection has won; and the end of the
//! peer's bytes is never more than a result that the caller gets.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::ChildStdin;
use std::sync::Arc;
use std::thread;

use super::carry::{Fault, Incoming, Next, Peer};
use super::codec::{self, Codec};
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
    incoming: Incoming,
    compress: &Compress,
    gate: &mut Gate,
) -> Result<Peer, (Option<Peer>, String)> {
    match compress {
        Compress::None => {
            let whole = each(&mut channel, incoming, |bytes| gate.pass(bytes));
            judged(channel, whole.and_then(|()| gate.is_open()))
        }
        Compress::Own(codec) => {
            let whole = decompress(*codec, &mut channel, incoming, gate);
            judged(channel, whole.and_then(|()| gate.is_open()))
        }
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
            judged(channel, good)
        }
    }
}

fn judged(channel: Peer, whole: Result<(), String>) -> Result<Peer, (Option<Peer>, String)> {
    match whole {
        Ok(()) => Ok(channel),
        Err(why) => Err((Some(channel), why)),
    }
}

/// Decompresses the whole stream here.
fn decompress(
    codec: Codec,
    channel: &mut Peer,
    incoming: Incoming,
    gate: &mut Gate,
) -> Result<(), String> {
    let told = |fault: codec::Fault| fault.to_string();
    let mut unpacker = codec.unpacker().map_err(told)?;
    each(channel, incoming, |bytes| {
        let passed = unpacker.push(bytes, &mut |bytes| gate.pass(bytes));
        passed.map_err(told)
    })?;
    unpacker.end().map_err(told)
}

/// Gives a tool the whole stream. Its input ends in any case; the result says what that end is.
fn pump(
    mut channel: Peer,
    incoming: Incoming,
    mut input: ChildStdin,
) -> (Peer, Result<(), String>) {
    let gone = |error| format!("the decompression tool takes no more: {error}");
    let whole = each(&mut channel, incoming, |bytes| {
        input.write_all(bytes).map_err(gone)
    });
    (channel, whole)
}

/// Passes the whole stream on, as it comes. Good only when it is whole.
fn each(
    channel: &mut Peer,
    mut incoming: Incoming,
    mut to: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    loop {
        match incoming.next(channel) {
            Ok(Next::Bytes(bytes)) => to(bytes)?,
            Ok(Next::Zeros(mut run)) => {
                while run > 0 {
                    let part = run.min(ZEROS.len() as u64);
                    to(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())])?;
                    run -= part;
                }
            }
            Ok(Next::End) => return Ok(()),
            Err(fault) => return Err(Fault::to_string(&fault)),
        }
    }
}
