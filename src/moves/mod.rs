//! Disk transfers between nodes and clusters: what Ganeti's `import-export` does with socat, over a
//! channel that pins the peer's exact certificate and ends honestly.
//!
//! ```text
//!   order     the arguments of Ganeti's program, as a value that cannot be wrong
//!   shell     the commands around a transfer, taken out of Ganeti's pipeline
//!   progress  MiB, throughput, percent, time left
//!   status    the status that Ganeti reads
//!   pin       whether a peer is the right one
//!   frame     what two ends of this program say to each other
//!   talk      what the two processes of one end say to each other
//!   ends      identity, pin, word and compression of an end
//!   line      a TCP connection that ends in a reset unless told otherwise
//!   carry     the stream in the channel, with the trailer
//!   course    what has happened, and what is to be done next
//!   crowd     who is connected to an importer
//!   pack      the export command's bytes to the stream
//!   unpack    the stream to the import command's bytes
//!   tool      a compression program
//!   codec     the compressions that need none
//!   send      the exporter's end
//!   receive   the importer's end
//!   account   what the node's transfers have come to
//!   subject   instance and disk of a transfer
//!   keys      which of Ganeti's throw-away keys may go
//!   report    events and progress of the channel's process
//! ```
//!
//! Nothing here runs Ganeti's commands or writes a disk: `commands::import_export` does. The peer
//! is believed in nothing but its certificate.

pub mod account;
mod carry;
pub mod codec;
pub mod course;
mod crowd;
mod ends;
pub mod frame;
pub mod keys;
mod line;
pub mod order;
mod pack;
pub mod pin;
pub mod progress;
mod receive;
mod report;
mod send;
pub mod shell;
pub mod status;
pub mod subject;
pub mod talk;
mod tool;
mod unpack;

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ends::Ends;
use report::Reporter;
use send::Call;
use talk::{Event, Road, Setup, Word};

use crate::tls::End;

/// Does the channel's part of a transfer, from the connection to the peer's end, and tells all
/// about it on `out`.
pub(crate) fn run(setup: Setup, data: File, out: UnixStream, words: &Receiver<Word>) -> bool {
    let reporter = Arc::new(Reporter::new(out));
    // An export command that nobody reads any more hears of it after the reason was told.
    let held = matches!(setup.road, Road::Export { .. }).then(|| data.try_clone());
    let done = channel(setup, data, &reporter, words);
    let good = done.is_ok();
    reporter.progress();
    reporter.tell(&Event::Ends(done.err()));
    drop(held);
    good
}

fn channel(
    setup: Setup,
    data: File,
    reporter: &Arc<Reporter>,
    words: &Receiver<Word>,
) -> Result<(), String> {
    match &setup.road {
        Road::Import { listen, .. } => {
            let ends = Ends::new(&setup, End::Listens)?;
            receive::receive(ends, *listen, data, Arc::clone(reporter), words)
        }
        Road::Export {
            peers,
            bind,
            retries,
            timeout,
        } => {
            let call = Call {
                peers: peers.clone(),
                bind: *bind,
                retries: *retries,
                timeout: Duration::from_secs((*timeout).max(1)),
            };
            let ends = Ends::new(&setup, End::Calls)?;
            send::send(&ends, &call, data, reporter, words)
        }
    }
}
