//! One exchange with noded: connect, send, take the answer off at full speed, close.
//!
//! It never sends a request a second time, and it never leaves noded with a reply that nobody
//! reads: when the client is slow or gone, the reply is taken off noded all the same.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::buffer_pool::BufferPool;
use super::error::Error;
use super::metrics::{Connection, Direction};
use super::noded::Noded;
use super::noded_stream::NodedStream;
use super::slots::Slot;
use super::wire::{self, Head};
use crate::proxy::http::{Body, Chunk, Cut, Lease, ReplyBody};
use rules::identity::Digest;

/// Replies up to this are gathered whole before the client sees any of it, so that a cut one
/// becomes a 502.
const WHOLE: u64 = 256 << 10;

/// Replies up to this everybody gets, also who has its share of the memory already.
const UNCOUNTED: u64 = 16 << 10;

/// A request body of this length, with its head, fits into the kernel's buffers and into one
/// segment on loopback.
const SHORT: u64 = 32 << 10;

/// Longest wait until a client that is slow, and has its share of the memory, takes more of its
/// reply: noded drops a reply that nobody takes for 10 s, and its slot is for others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chunk size for long replies: 64 KiB stays in the L2 cache; 256 KiB cost 25 % more CPU.
const PIECE: usize = 64 << 10;

/// What we call ourselves towards noded.
pub(super) const AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"));
/// The same for calls that no client asked for.
pub(super) const PROBE_AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"), " probe");

/// What noded is asked.
pub(super) struct Call {
    pub(super) procedure: Box<str>,
    pub(super) body: Body,
    /// Whose memory the reply takes.
    pub(super) peer: Digest,
    /// Whether it may still be sent, asked when there is a connection for it.
    pub(super) may_go: Box<dyn Fn() -> Result<(), Error> + Send>,
    /// [`AGENT`] or [`PROBE_AGENT`].
    pub(super) agent: &'static str,
}

/// noded's answer.
pub struct Reply {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its body, whole or still coming.
    pub body: ReplyBody,
}

/// A reply, or a piece of one, on its way to the client: its memory counts until it has gone out.
struct Leased {
    data: Bytes,
    _lease: Option<Lease>,
}

impl Leased {
    fn bytes(data: Bytes, lease: Option<Lease>) -> Bytes {
        Bytes::from_owner(Self {
            data,
            _lease: lease,
        })
    }
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// How far an exchange has come when the head of the answer is there.
enum Progress {
    /// The answer is there as a whole.
    Whole(Reply),
    /// A long answer, of which these bytes are there.
    Long(NodedStream, Head, BytesMut),
}

/// Holds `slot` until noded has answered or closed. Returns when the answer can be passed on; a
/// task of its own takes a long one off noded. Calls `answered` at the end, if noded answered
/// whole.
pub(super) async fn exchange(
    noded: Arc<Noded>,
    mut slot: Slot<NodedStream>,
    call: Call,
    answered: impl FnOnce() + Send + 'static,
) -> Result<Reply, Error> {
    let peer = call.peer;
    let connected = match slot.warm().and_then(NodedStream::if_open) {
        Some(warm) => {
            noded.count_connection(Connection::Warm);
            Ok(warm)
        }
        None => noded.connect().await,
    };
    let progress = match connected {
        Ok(stream) => match (call.may_go)() {
            Ok(()) => ask(&noded, stream, call).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let progress = match progress {
        Err(Error::EmptyReply(_)) if Box::pin(noded.speaks_tls()).await => Err(Error::SpeaksTls),
        progress => progress,
    };
    match progress {
        Ok(Progress::Whole(reply)) => {
            drop(slot);
            ended(&noded, None, answered);
            Ok(reply)
        }
        Ok(Progress::Long(mut stream, head, ready)) => {
            let (chunks, received) = mpsc::unbounded_channel();
            let tasks = noded.handles.tasks.clone();
            tasks.spawn(async move {
                let buffered = (peer, ready);
                let pumped = pump(&noded, &mut stream, head.length, buffered, &chunks).await;
                drop((stream, slot));
                ended(&noded, pumped.as_ref().err(), answered);
                if let Err(error) = pumped {
                    let _ = chunks.send(Err(Cut(error.to_string())));
                }
            });
            Ok(Reply {
                status: head.status,
                body: ReplyBody::stream(head.length, received),
            })
        }
        Err(error) => {
            drop(slot);
            ended(&noded, Some(&error), answered);
            Err(error)
        }
    }
}

/// The books after an exchange.
fn ended(noded: &Noded, error: Option<&Error>, answered: impl FnOnce()) {
    noded.note_health(error);
    match error {
        Some(error) => noded.count_error(error),
        None => answered(),
    }
}

/// Sends the request. Takes a short answer to its end, a long one as far as its head.
async fn ask(noded: &Noded, mut stream: NodedStream, call: Call) -> Result<Progress, Error> {
    let (length, peer) = (call.body.length(), call.peer);
    if is_long(length, noded.settings.address.ip()) {
        let prepared = stream.prepare_long(noded.settings.send_timeout);
        prepared.map_err(|error| Error::Internal(error.to_string()))?;
    }
    let request = wire::request(&call.procedure, &noded.host, call.agent, length);
    let asked = wire::ask(&mut stream, request, call.body).await;
    if let Err(Error::Internal(_)) = asked {
        stream.reset(); // after an orderly close noded might take what it has for the whole
    }
    let (head, mut ready) = asked?;
    noded.count_bytes(Direction::Request, length);
    let lease = match head.length {
        ..=UNCOUNTED => None,
        counted => match noded.handles.memory.try_take(peer, counted) {
            Some(lease) if counted <= WHOLE => Some(lease),
            _ => return Ok(Progress::Long(stream, head, ready)),
        },
    };
    let length = head.length as usize;
    while ready.len() < length {
        let room = length - ready.len() + 1; // one more, which should not come
        ready.reserve(room);
        more(&mut stream, &mut ready, room).await?;
    }
    check_length(ready.len() as u64, head.length)?;
    noded.count_bytes(Direction::Reply, head.length);
    Ok(Progress::Whole(Reply {
        status: head.status,
        body: ReplyBody::whole(Leased::bytes(ready.freeze(), lease)),
    }))
}

/// Passes a long answer on as it comes, through buffers that this peer's share of the memory
/// bounds. Once the client has left, or takes nothing more, takes the rest off noded and throws it
/// away.
async fn pump(
    noded: &Noded,
    stream: &mut NodedStream,
    length: u64,
    (peer, ready): (Digest, BytesMut),
    chunks: &mpsc::UnboundedSender<Chunk>,
) -> Result<(), Error> {
    let buffers = Arc::new(BufferPool::default());
    let (mut memory, mut data) = (ready.len(), ready.freeze());
    let (mut received, mut wanted) = (0, true);
    loop {
        received += data.len() as u64;
        check_length(received, length)?;
        noded.count_bytes(Direction::Reply, data.len() as u64);
        if wanted && !chunks.is_closed() {
            let lease = timeout(PATIENCE, noded.handles.memory.take(peer, memory as u64));
            tokio::select! {
                lease = lease => {
                    wanted = lease.is_ok();
                    let late = || Cut("the client does not take its reply".into());
                    let piece = lease.map(|lease| Leased::bytes(data, Some(lease)));
                    let _ = chunks.send(piece.map_err(|_| late()));
                }
                () = chunks.closed() => {}
            }
        }
        if received == length {
            return Ok(());
        }
        let mut buffer = buffers.take().await;
        buffer.reserve_exact(PIECE);
        let left = usize::try_from(length - received).unwrap_or(usize::MAX);
        // One byte more than is left should not come.
        more(stream, &mut buffer, PIECE.min(left.saturating_add(1))).await?;
        (memory, data) = buffers.lend(buffer);
    }
}

/// Reads more of an answer behind what is there, up to `room` bytes.
async fn more(
    stream: &mut NodedStream,
    buffer: &mut impl BufMut,
    room: usize,
) -> Result<(), Error> {
    match stream.read_buf(&mut buffer.limit(room)).await {
        Ok(1..) => Ok(()),
        Ok(0) => Err(Error::CutReply("connection closed".into())),
        Err(error) => Err(Error::CutReply(error.to_string())),
    }
}

/// Whether a request may need several writes, or may wait for noded's acknowledgement. On
/// loopback the kernel takes a short one at once, whatever noded does.
fn is_long(length: u64, noded: IpAddr) -> bool {
    length > SHORT || !noded.is_loopback()
}

/// An answer with more bytes than its Content-Length is as wrong as one with fewer.
fn check_length(received: u64, length: u64) -> Result<(), Error> {
    match received.checked_sub(length) {
        Some(1..) => {
            let text = format!(
                "{} bytes follow behind its Content-Length",
                received - length
            );
            Err(Error::BadReply(text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_requests_on_loopback_go_unprepared() {
        for (length, noded, expected) in [
            (0, "127.0.0.1", false),
            (SHORT, "::1", false),
            (SHORT + 1, "127.0.0.1", true),
            (0, "192.0.2.1", true),
            (0, "2001:db8::1", true),
        ] {
            assert_eq!(
                is_long(length, noded.parse().unwrap()),
                expected,
                "{length} {noded}"
            );
        }
    }
}
