//! From the export command's bytes to the stream: counted, with the word of Ganeti in front where
//! the original expects it, compressed as asked. It never says that a stream is whole.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::ChildStdin;
use std::sync::Arc;
use std::thread;

use super::codec::Fault;
use super::order::Compress;
use super::report::Reporter;
use super::tool::Tool;

/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 20;

/// So many threads compress at most: beyond that the rest of the road is slower.
const THREADS: usize = 4;

/// Passes all of `data` to `send`, until its end.
pub(super) fn pack(
    mut data: File,
    compress: &Compress,
    start: &[u8],
    reporter: &Arc<Reporter>,
    mut send: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    match compress {
        Compress::None => {
            if !start.is_empty() {
                send(start)?;
            }
            let counted = |bytes: &[u8]| {
                reporter.count(bytes.len() as u64);
                send(bytes)
            };
            each("the export's data", &mut data, counted)
        }
        Compress::Own(codec) => {
            let told = |fault: Fault| fault.to_string();
            let mut packer = codec.packer(threads()).map_err(told)?;
            packer.push(start, &mut send).map_err(told)?;
            each("the export's data", &mut data, |bytes| {
                reporter.count(bytes.len() as u64);
                packer.push(bytes, &mut send).map_err(told)
            })?;
            packer.end(&mut send).map_err(told)
        }
        Compress::Program { name, pack, .. } => {
            let (tool, input, mut output) = Tool::start(name, pack, reporter)?;
            let (start, counter) = (start.to_vec(), Arc::clone(reporter));
            // Not waited for after an error: a silent command would hold it up.
            let feeder = thread::spawn(move || feed(data, &start, input, &counter));
            each(name, &mut output, send)?;
            joined(feeder.join())?;
            tool.finish()
        }
    }
}

/// How many threads compress here.
fn threads() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores.min(THREADS)).unwrap_or(1)
}

/// Gives a tool all that it compresses, and then its end of input.
fn feed(
    mut data: File,
    start: &[u8],
    mut input: ChildStdin,
    reporter: &Reporter,
) -> Result<(), String> {
    let gone = |error| format!("the compression tool takes no more: {error}");
    input.write_all(start).map_err(gone)?;
    each("the export's data", &mut data, |bytes| {
        reporter.count(bytes.len() as u64);
        input.write_all(bytes).map_err(gone)
    })
}

/// Passes all that a reader has.
fn each(
    what: &str,
    from: &mut impl Read,
    mut to: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut buffer = vec![0; AT_ONCE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("{what}: {error}")),
        }
    }
}

/// What a thread came to.
pub(super) fn joined<T>(result: thread::Result<Result<T, String>>) -> Result<T, String> {
    result.unwrap_or_else(|_| Err("a thread broke down".into()))
}
