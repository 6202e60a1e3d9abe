//! A process that was replaced: it passes its slots on, to whoever is the main process now. It
//! never accepts a client.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use rustix::net::sockopt::socket_peercred;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::door::{Door, knock, tend};
use super::message::{DRAIN, GIVEN, Holds, SLOT, SUPERSEDED, TakeOver, write};
use crate::proxy::upstream::{NodedStream, Slots};

/// The link to its successor, and the slots that it passes on.
#[derive(Debug)]
pub(in crate::daemon) struct Retired {
    since: Instant,
    successor: u32,
    link: UnixStream,
    freed: UnboundedReceiver<usize>,
    slots: Arc<Slots<NodedStream>>,
    superseded: CancellationToken,
    door: Option<Door>,
}

/// How a link ends.
enum End {
    /// The successor is stopped.
    Stopped,
    /// It has crashed, or was replaced by a process that has.
    Crashed,
}

impl Retired {
    /// From now on the slots that get free go over this link. And how many are kept. `since`: when
    /// this process was replaced.
    pub(super) fn new(
        (link, successor): (UnixStream, u32),
        (slots, superseded): (Arc<Slots<NodedStream>>, CancellationToken),
        since: Instant,
    ) -> (Self, Holds) {
        let (passes_on, freed) = unbounded_channel();
        let (kept, lacks_slot) = slots.retire(passes_on);
        let retired = Self {
            since,
            successor,
            link,
            freed,
            slots,
            superseded,
            door: None,
        };
        let pid = std::process::id();
        let holds = Holds {
            pid,
            slots: kept,
            lacks_slot,
            replaced_seconds_ago: since.elapsed().as_secs(),
        };
        (retired, holds)
    }

    /// The same, by a main process that has found this one. By which rules that one judges is not
    /// known.
    pub(super) fn found(
        link: UnixStream,
        (slots, superseded): (Arc<Slots<NodedStream>>, CancellationToken),
        door: Door,
        since: Instant,
    ) -> Self {
        superseded.cancel();
        let peer = socket_peercred(&link);
        let pid = peer.map_or(0, |peer| peer.pid.as_raw_nonzero().get().unsigned_abs());
        let (retired, holds) = Self::new((link, pid), (slots, superseded), since);
        let _ = write(&retired.link, &holds); // if it has crashed, there will be another one
        retired.with(door)
    }

    /// Lets the successor serve.
    pub(super) fn tell(&self, message: &TakeOver) -> io::Result<()> {
        write(&self.link, message)
    }

    /// Where it is found if the successor crashes.
    pub(super) fn with(self, door: Door) -> Self {
        let door = Some(door);
        Self { door, ..self }
    }

    /// The process that took over.
    pub(in crate::daemon) fn successor(&self) -> u32 {
        self.successor
    }

    /// Passes slots on for as long as the process lives. Returns when the successor is stopped,
    /// and so must be this process; never if the successor just ends.
    pub(in crate::daemon) async fn pass_on(mut self) {
        while let End::Crashed = self.serve().await {
            let link = knock(self.door.as_mut()).await;
            let Some(door) = self.door else { return };
            self = Self::found(link, (self.slots, self.superseded), door, self.since);
            let pid = self.successor;
            info!(
                pid,
                "the new process has crashed; this one passes its slots on to the next one"
            );
        }
    }

    /// Serves one link to its end.
    async fn serve(&mut self) -> End {
        let copy = self.link.try_clone();
        let link = copy.and_then(|link| link.set_nonblocking(true).map(|()| link));
        let Ok(mut link) = link.and_then(tokio::net::UnixStream::from_std) else {
            return End::Crashed;
        };
        let (mut from, mut to) = link.split();
        let mut word = [0];
        loop {
            tokio::select! {
                slots = self.freed.recv() => {
                    let slots = slots.unwrap_or_default();
                    let _ = to.write_all(&vec![SLOT; slots]).await; // it may have ended
                }
                () = tend(self.door.as_mut()) => {}
                read = from.read(&mut word) => match read {
                    Ok(1) if word[0] == DRAIN => return End::Stopped,
                    Ok(1) if word[0] == GIVEN => self.slots.is_given_one(),
                    Ok(1) if word[0] == SUPERSEDED => self.superseded.cancel(),
                    Ok(1) => {}
                    Ok(_) | Err(_) => return End::Crashed,
                },
            }
        }
    }
}
