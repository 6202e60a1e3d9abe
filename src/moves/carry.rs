//! The stream inside the channel: in frames between two ends of this program, bare towards the
//! original. It never takes anything for the end of the stream but what the sender said is the end.

use super::frame::{Head, LONGEST, Malformed, Message, Trailer};
use super::line::Line;
use crate::tls::{Channel, Received, Sha256};

/// Zero bytes are looked for in blocks of this size.
const BLOCK: usize = 64 * 1024;

/// A record of TLS is no longer.
const RECORD: usize = 16 * 1024;

/// A run of zeros is sent at this length at the latest, so that the importer has work, too.
const RUN: u64 = 64 << 20;

/// Why a stream is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The channel broke.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The peer ended in an orderly way, but without the trailer.
    #[error("the peer ended before the trailer")]
    NoTrailer,
    /// It is not what was sent.
    #[error("the trailer does not fit: {0} bytes came, {1} were sent, or the SHA-256 is another")]
    Trailer(u64, u64),
    /// No frame.
    #[error("the peer sent {0}")]
    Malformed(#[from] Malformed),
    /// A frame where it has no place.
    #[error("the peer sent something out of turn")]
    OutOfTurn,
    /// The peer's own words.
    #[error("the other end says: {0}")]
    Told(String),
}

/// A verified peer.
pub(super) type Peer = Channel<Line>;

/// What was sent or has come so far.
struct Tally {
    hash: Sha256,
    length: u64,
}

impl Tally {
    fn new() -> Self {
        let hash = Sha256::new();
        Self { hash, length: 0 }
    }

    fn add(&mut self, head: &[u8], bytes: &[u8], length: u64) {
        self.hash.update(head);
        self.hash.update(bytes);
        self.length = self.length.saturating_add(length);
    }

    fn trailer(self) -> Trailer {
        Trailer {
            length: self.length,
            hash: self.hash.finish(),
        }
    }
}

/// The sending end of a stream.
pub(super) struct Outgoing<'a> {
    channel: &'a mut Peer,
    tally: Option<Tally>,
    zeros: u64,
}

impl<'a> Outgoing<'a> {
    /// In frames, or bare.
    pub(super) fn new(channel: &'a mut Peer, framed: bool) -> Self {
        Self {
            channel,
            tally: framed.then(Tally::new),
            zeros: 0,
        }
    }

    /// Sends a part of the stream.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.tally.is_none() {
            self.channel.send(bytes).map_err(Fault::Broken)?;
        } else {
            let mut data = 0..0;
            for (at, block) in bytes.chunks(BLOCK).enumerate() {
                if is_zero(block) {
                    self.data(&bytes[data.clone()])?;
                    self.zeros += block.len() as u64;
                    data = at * BLOCK + block.len()..at * BLOCK + block.len();
                } else {
                    self.run()?;
                    data.end = at * BLOCK + block.len();
                }
            }
            self.data(&bytes[data])?;
            if self.zeros >= RUN {
                self.run()?;
            }
            if self.channel.line().speaks() {
                return Err(Incoming::new(true).complaint(self.channel));
            }
        }
        self.channel
            .flush()
            .map_err(|e| Fault::Broken(e.to_string()))
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for part in bytes.chunks(LONGEST) {
            self.frame(Head::Data(part.len()), part, part.len() as u64)?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fault> {
        match std::mem::take(&mut self.zeros) {
            0 => Ok(()),
            run => self.frame(Head::Zeros(run), &[], run),
        }
    }

    fn frame(&mut self, head: Head, bytes: &[u8], length: u64) -> Result<(), Fault> {
        let head = head.bytes();
        if let Some(tally) = &mut self.tally {
            tally.add(&head, bytes, length);
        }
        self.channel.send(&head).map_err(Fault::Broken)?;
        self.channel.send(bytes).map_err(Fault::Broken)
    }

    /// Says that the stream is whole. Nobody may call it who does not know that.
    pub(super) fn end(mut self) -> Result<(), Fault> {
        self.run()?;
        if let Some(tally) = self.tally.take() {
            let head = Head::End(tally.trailer()).bytes();
            self.channel.send(&head).map_err(Fault::Broken)?;
        }
        self.channel
            .flush()
            .map_err(|e| Fault::Broken(e.to_string()))
    }
}

/// Whether a block has nothing but zeros: most others show it in the first bytes.
fn is_zero(block: &[u8]) -> bool {
    let (start, rest) = block.split_at(block.len().min(32));
    start.iter().all(|byte| *byte == 0)
        && rest
            .chunks(256)
            .all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// What comes next of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many zeros.
    Zeros(u64),
    /// Nothing: the stream is whole, as far as the sender can tell.
    End,
}

/// The receiving end of a stream.
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// What the buffer holds that was not handed out.
    held: std::ops::Range<usize>,
    /// So many bytes of the frame are still to come.
    pending: usize,
    tally: Option<Tally>,
    /// The channel is broken; what came before is still handed out.
    broken: Option<String>,
}

impl Incoming {
    /// In frames, or bare.
    pub(super) fn new(framed: bool) -> Self {
        Self {
            buffer: vec![0; LONGEST],
            held: 0..0,
            pending: 0,
            tally: framed.then(Tally::new),
            broken: None,
        }
    }

    /// Waits for the next part. After [`Next::End`] nothing may be asked.
    pub(super) fn next(&mut self, channel: &mut Peer) -> Result<Next<'_>, Fault> {
        if self.tally.is_none() {
            if self.receive(channel)? == 0 {
                return Ok(Next::End);
            }
            let part = self.take(usize::MAX);
            return Ok(Next::Bytes(&self.buffer[part]));
        }
        if self.pending == 0 {
            match self.head(channel)? {
                (Head::Data(length), head) => {
                    self.pending = length;
                    self.count(&head, 0..0, 0);
                }
                (Head::Zeros(run), head) => {
                    self.count(&head, 0..0, run);
                    return Ok(Next::Zeros(run));
                }
                (Head::End(said), _) => return self.compare(said).map(|()| Next::End),
                (Head::Message(length), _) => {
                    return match self.body(channel, length)? {
                        Message::Failed(why) => Err(Fault::Told(why)),
                        _ => Err(Fault::OutOfTurn),
                    };
                }
            }
        }
        if self.held.is_empty() && self.receive(channel)? == 0 {
            return Err(Fault::NoTrailer);
        }
        let part = self.take(self.pending);
        self.pending -= part.len();
        self.count(&[], part.clone(), part.len() as u64);
        Ok(Next::Bytes(&self.buffer[part]))
    }

    /// Waits for a message.
    pub(super) fn message(&mut self, channel: &mut Peer) -> Result<Message, Fault> {
        match self.head(channel)? {
            (Head::Message(length), _) => self.body(channel, length),
            _ => Err(Fault::OutOfTurn),
        }
    }

    /// What the importer says in the middle of the stream: it can only be a complaint.
    fn complaint(&mut self, channel: &mut Peer) -> Fault {
        match self.message(channel) {
            Ok(Message::Failed(why)) => Fault::Told(why),
            Ok(_) => Fault::OutOfTurn,
            Err(fault) => fault,
        }
    }

    fn body(&mut self, channel: &mut Peer, length: usize) -> Result<Message, Fault> {
        while self.held.len() < length {
            if self.receive(channel)? == 0 {
                return Err(Fault::NoTrailer);
            }
        }
        let text = self.take(length);
        Ok(Message::parse(&self.buffer[text])?)
    }

    fn head(&mut self, channel: &mut Peer) -> Result<(Head, Vec<u8>), Fault> {
        loop {
            if let Some((head, length)) = Head::parse(&self.buffer[self.held.clone()])? {
                let bytes = self.take(length);
                return Ok((head, self.buffer[bytes].to_vec()));
            }
            if self.receive(channel)? == 0 {
                return Err(Fault::NoTrailer);
            }
        }
    }

    /// Takes so many of the held bytes, at most.
    fn take(&mut self, most: usize) -> std::ops::Range<usize> {
        let end = self.held.end.min(self.held.start.saturating_add(most));
        let part = self.held.start..end;
        self.held.start = end;
        part
    }

    /// Adds what comes to the held bytes: 0 is the peer's orderly end.
    fn receive(&mut self, channel: &mut Peer) -> Result<usize, Fault> {
        if self.held.is_empty() {
            self.held = 0..0;
        } else if self.held.start > 0 {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        if let Some(why) = self.broken.take() {
            return Err(Fault::Broken(why));
        }
        let mut all = 0;
        // Records that are here already are taken along: a command reads large pieces faster.
        while all == 0 || (channel.line().has_ahead() && self.buffer.len() - self.held.end > RECORD)
        {
            match channel.receive(&mut self.buffer[self.held.end..]) {
                Ok(Received::Bytes(count)) => {
                    self.held.end += count;
                    all += count;
                }
                Ok(Received::End) => break,
                Err(why) if all == 0 => return Err(Fault::Broken(why)),
                Err(why) => {
                    self.broken = Some(why);
                    break;
                }
            }
        }
        Ok(all)
    }

    fn count(&mut self, head: &[u8], part: std::ops::Range<usize>, length: u64) {
        if let Some(tally) = &mut self.tally {
            tally.add(head, &self.buffer[part], length);
        }
    }

    fn compare(&mut self, said: Trailer) -> Result<(), Fault> {
        let came = self.tally.take().map(Tally::trailer);
        match came {
            Some(came) if came == said => Ok(()),
            Some(came) => Err(Fault::Trailer(came.length, said.length)),
            None => Err(Fault::OutOfTurn),
        }
    }
}
