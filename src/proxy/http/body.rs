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

use super::spool::{Spool, SpoolFile};
use super::{Budget, Lease, Refusal};
use rules::identity::Digest;

/// Every sender has this much time, however slow it is.
const GRACE: Duration = Duration::from_secs(10);
/// Longest wait for a share of memory or of the spool. Nothing is read from the client meanwhile.
const SHARE_WAIT: Duration = Duration::from_secs(30);
/// After this silence the rest of a refused request is not waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// First buffer of a body whose length is not known.
const FIRST: usize = 4 << 10;
/// Longest buffer in memory, and bytes for one write to a file.
const PIECE: usize = 256 << 10;

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

/// A request body, whole. All of it is ASCII.
#[derive(Debug)]
pub struct Body {
    length: u64,
    taken: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Memory(
        VecDeque<Bytes>,
        #[allow(dead_code, reason = "held for its drop")] Vec<Lease>,
    ),
    File(SpoolFile),
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

    /// Reads the rest of a refused request and throws it away: a client that reads only after it
    /// has sent everything, or is sending when the connection is closed, would not get the refusal.
    /// Time and length are bounded.
    pub async fn discard(&self, mut incoming: Incoming) {
        let mut left = self.limits.most.saturating_mul(4);
        let rest = async {
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, incoming.frame()).await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(GRACE, rest).await;
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
            if in_memory && length > limits.in_memory {
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
        // Doubled each time, so that a sender takes no more memory than it has sent.
        let begun = usize::try_from(self.length).unwrap_or(PIECE).max(FIRST);
        let left = self.known.map_or(u64::MAX, |known| known - self.length);
        let left = usize::try_from(left).unwrap_or(PIECE).max(1);
        let capacity = begun.min(PIECE).min(left);
        match self.bodies.memory.try_take(self.peer, capacity as u64) {
            Some(lease) => {
                self.leases.push(lease);
                self.filling = Vec::with_capacity(capacity);
                Ok(())
            }
            None => self.spill().await,
        }
    }

    /// Goes on in a file, with all that is there.
    async fn spill(&mut self) -> Result<(), Refusal> {
        let begun = Instant::now();
        let until = begun + SHARE_WAIT;
        let most = self.known.unwrap_or(self.bodies.limits.most);
        let mut file = self.bodies.spool.create(self.peer, most, until).await?;
        self.full.push_back(std::mem::take(&mut self.filling));
        for buffer in std::mem::take(&mut self.full) {
            file.append(buffer).await?;
        }
        self.leases.clear();
        let memory = self.bodies.memory.take(self.peer, PIECE as u64);
        let lease = timeout_at(until, memory).await;
        self.leases.push(lease.map_err(|_| Refusal::NoMemory)?);
        self.filling = Vec::with_capacity(PIECE);
        self.file = Some(file);
        self.deadline.start += begun.elapsed(); // not the sender's fault
        Ok(())
    }

    async fn finish(mut self) -> Result<Body, Refusal> {
        let content = match self.file {
            Some(mut file) => {
                file.append(self.filling).await?;
                file.finish();
                Content::File(file)
            }
            None => {
                self.full.push_back(self.filling);
                let full = self.full.into_iter().filter(|buffer| !buffer.is_empty());
                Content::Memory(full.map(Bytes::from).collect(), self.leases)
            }
        };
        Ok(Body {
            length: self.length,
            taken: 0,
            content,
        })
    }
}

impl Body {
    /// A body that is already complete.
    pub fn whole(data: Bytes) -> Self {
        Self {
            length: data.len() as u64,
            taken: 0,
            content: Content::Memory(VecDeque::from([data]), Vec::new()),
        }
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The whole body in one piece, if it has not more than `most` bytes. It stays here.
    pub async fn contents(&self, most: u64) -> Result<Option<Vec<u8>>, Refusal> {
        if self.length > most {
            return Ok(None);
        }
        let mut contents = Vec::new();
        match &self.content {
            Content::Memory(pieces, _) => {
                pieces
                    .iter()
                    .for_each(|piece| contents.extend_from_slice(piece));
            }
            Content::File(file) => {
                while (contents.len() as u64) < self.length {
                    contents.extend_from_slice(&file.read(contents.len() as u64).await?);
                }
            }
        }
        Ok(Some(contents))
    }

    /// Whether the next piece is in memory.
    pub fn has_ready(&self) -> bool {
        matches!(&self.content, Content::Memory(pieces, _) if !pieces.is_empty())
    }

    /// Takes the next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let piece = match &mut self.content {
            Content::Memory(pieces, _) => pieces.pop_front(),
            Content::File(file) => {
                let piece = file.read(self.taken).await?;
                Some(piece).filter(|piece| !piece.is_empty())
            }
        };
        self.taken += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
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
