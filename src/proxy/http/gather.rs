//! Request bodies. Each is gathered whole before noded sees a byte of it: noded executes what it
//! has whole, so who may command it is asked when the last byte is there. A slow client costs noded
//! nothing.
//!
//! A body of up to `limits.body_in_memory` waits in memory while its peer's share of
//! `limits.memory` allows, any other in a file without a name ([`Spool`]). What comes is copied into
//! buffers of our own, so that the memory that is counted is the memory that is held, however small
//! the pieces are.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::spool::{PIECE, Spool, SpoolFile};
use super::{Budget, Lease, Refusal};
use rules::identity::Digest;

/// Every sender has this much time, however slow it is.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Longest wait for a share of the spool. Nothing is read from the client meanwhile.
const SHARE_WAIT: Duration = Duration::from_secs(30);

/// Buffer for a file that everybody gets, also who has its share of the memory already.
const SMALL: usize = 16 << 10;
/// First buffer of a body whose length is not known.
const FIRST: u64 = 4 << 10;
/// Most of such a body in memory: nobody can tell how much is to come.
const UNKNOWN: u64 = 1 << 20;

/// Bounds of a request body, in bytes and bytes a second.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Largest body.
    pub most: u64,
    /// In memory up to this, if the memory allows.
    pub in_memory: u64,
    /// Slowest sender.
    pub rate: u64,
}

/// Gathers bodies, within the bounds that all share.
#[derive(Debug)]
pub struct Bodies {
    limits: BodyLimits,
    memory: Budget,
    spool: Spool,
}

/// A body while it comes.
struct Gathering<'a> {
    bodies: &'a Bodies,
    peer: Digest,
    /// What the head says.
    known: Option<u64>,
    length: u64,
    deadline: Deadline,
    /// Full buffers, if all is in memory.
    full: VecDeque<Vec<u8>>,
    filling: Vec<u8>,
    leases: Vec<Lease>,
    file: Option<SpoolFile>,
}

/// The floor rate: by when the next byte must come.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    start: Instant,
    rate: u64,
}

impl Deadline {
    fn after(self, received: u64) -> Instant {
        self.start + GRACE + Duration::from_secs(received / self.rate)
    }
}

impl Bodies {
    /// Bodies in memory up to the limit, longer ones in `directory`, within `memory` and `spool`.
    pub fn new(limits: BodyLimits, memory: Budget, directory: PathBuf, spool: Budget) -> Self {
        Self {
            limits,
            memory,
            spool: Spool::new(directory, spool),
        }
    }

    /// Memory that bodies of requests and replies take now, in bytes.
    pub fn memory_in_use(&self) -> u64 {
        self.memory.in_use()
    }

    /// Disk that is kept for request bodies now, in bytes.
    pub fn spool_in_use(&self) -> u64 {
        self.spool.in_use()
    }

    /// Gathers a body whole. After a refusal the rest of it is still in `incoming`.
    pub async fn gather(&self, peer: Digest, incoming: &mut Incoming) -> Result<Body, Refusal> {
        let known = incoming.size_hint().exact();
        if known == Some(0) {
            return Ok(Body::whole(Bytes::new()));
        }
        if known.is_some_and(|length| length > self.limits.most) {
            return Err(Refusal::BodyTooLarge(self.limits.most));
        }
        let mut gathering = Gathering {
            bodies: self,
            peer,
            known,
            length: 0,
            deadline: Deadline {
                start: Instant::now(),
                rate: self.limits.rate,
            },
            full: VecDeque::new(),
            filling: Vec::new(),
            leases: Vec::new(),
            file: None,
        };
        if known.is_some_and(|length| length > self.limits.in_memory) {
            gathering.spill().await?;
        }
        loop {
            let due = gathering.deadline.after(gathering.length);
            let frame = timeout_at(due, incoming.frame()).await;
            match chunk(frame.map_err(|_| Refusal::SlowBody)?)? {
                Some(data) => gathering.add(&data).await?,
                None => return gathering.finish().await,
            }
        }
    }

    /// Largest body, in bytes.
    pub(super) fn most(&self) -> u64 {
        self.limits.most
    }
}

impl Gathering<'_> {
    async fn add(&mut self, mut data: &[u8]) -> Result<(), Refusal> {
        let limits = self.bodies.limits;
        let length = self.length + data.len() as u64;
        if length > limits.most {
            return Err(Refusal::BodyTooLarge(limits.most));
        }
        while !data.is_empty() {
            let in_memory = self.file.is_none();
            let most = self.known.map_or(UNKNOWN, |_| u64::MAX);
            if in_memory && length > limits.in_memory.min(most) {
                self.spill().await?;
            }
            let room = self.filling.capacity() - self.filling.len();
            if room == 0 {
                self.make_room().await?;
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            self.filling.extend_from_slice(now);
            self.length += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    /// Puts the full buffer aside, and gets an empty one.
    async fn make_room(&mut self) -> Result<(), Refusal> {
        let full = std::mem::take(&mut self.filling);
        if let Some(file) = &mut self.file {
            self.filling = file.append(full).await?;
            return Ok(());
        }
        if !full.is_empty() {
            self.full.push_back(full);
        }
        let capacity = match self.known {
            Some(known) => known.saturating_sub(self.length).max(1),
            // Doubled each time, so that a sender takes no more memory than it has sent.
            None => self.length.clamp(FIRST, PIECE as u64),
        };
        match self.bodies.memory.try_take(self.peer, capacity) {
            Some(lease) => {
                self.leases.push(lease);
                self.filling = Vec::with_capacity(usize::try_from(capacity).unwrap_or(PIECE));
                Ok(())
            }
            None => self.spill().await,
        }
    }

    /// Goes on in a file, with all that is there.
    async fn spill(&mut self) -> Result<(), Refusal> {
        let begun = Instant::now();
        let until = begun + SHARE_WAIT;
        // If nobody can tell how much is to come, room is kept as it comes.
        let room = self.known.unwrap_or(2 * UNKNOWN);
        let mut file = self.bodies.spool.create(self.peer, room, until).await?;
        self.full.push_back(std::mem::take(&mut self.filling));
        for buffer in std::mem::take(&mut self.full) {
            file.append(buffer).await?;
        }
        self.leases.clear();
        let lease = self.bodies.memory.try_take(self.peer, PIECE as u64);
        let capacity = if lease.is_some() { PIECE } else { SMALL };
        self.leases.extend(lease);
        self.filling = Vec::with_capacity(capacity);
        self.file = Some(file);
        self.deadline.start += begun.elapsed(); // not the sender's fault
        Ok(())
    }

    async fn finish(mut self) -> Result<Body, Refusal> {
        match self.file {
            Some(mut file) => {
                let buffer = file.append(self.filling).await?;
                file.finish();
                Ok(Body::on_disk(self.length, file, buffer, self.leases))
            }
            None => {
                self.full.push_back(self.filling);
                let pieces = self.full.into_iter().map(Bytes::from).collect();
                Ok(Body::in_memory(self.length, pieces, self.leases))
            }
        }
    }
}

/// The data of a frame, checked; `None` at the end. Trailers are ignored.
fn chunk(frame: Option<hyper::Result<Frame<Bytes>>>) -> Result<Option<Bytes>, Refusal> {
    match frame {
        None => Ok(None),
        Some(Err(error)) => Err(Refusal::IncompleteBody(error.to_string())),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) if data.is_ascii() => Ok(Some(data)),
            Ok(_) => Err(Refusal::NotAscii),
            Err(_trailers) => Ok(None),
        },
    }
}
