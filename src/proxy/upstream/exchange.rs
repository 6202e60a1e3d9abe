//! One exchange with noded: connect, send, take the answer off at full speed, close.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::lazy_tcp::LazyTcp;
use super::metrics::{Connection, Direction};
use super::noded_stream::NodedStream;
use super::pieces::Pieces;
use super::wire::{self, Head};
use super::{Error, Reply, Slot, Upstream};
use crate::proxy::http::{Body, Chunk, ReplyBody};

/// Replies up to this are gathered whole before the client sees any of it, so that a cut one becomes a 502.
const WHOLE: u64 = 256 << 10;

/// Request bodies up to this fit into the kernel's buffers and into one segment on loopback, head and all.
const SHORT: u64 = 32 << 10;

/// A long reply is passed on in pieces of this size: what a processor keeps close by (four times as much cost a quarter more).
const PIECE: usize = 64 << 10;

/// What we call ourselves towards noded.
pub(super) const AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"));
/// The same for calls that no client asked for.
pub(super) const PROBE_AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"), " probe");

/// Where an exchange stands when its head has come.
enum Asked {
    /// The answer is there as a whole.
    Whole(Reply),
    /// A long answer, of which these bytes are there.
    Long(NodedStream, Head, BytesMut),
}

impl Upstream {
    /// Holds `slot` until noded has answered or closed. Returns when the answer can be passed on; a long one is
    /// taken off noded by a task of its own.
    pub(super) async fn exchange(
        self: Arc<Self>,
        mut slot: Slot<NodedStream>,
        procedure: Box<str>,
        body: Body,
        agent: &'static str,
    ) -> Result<Reply, Error> {
        let connected = match slot.warm().and_then(NodedStream::if_open) {
            Some(warm) => {
                self.metrics.connections.of(Connection::Warm).inc();
                Ok(warm)
            }
            None => self.connect().await,
        };
        let asked = match connected {
            Ok(stream) => self.ask(stream, &procedure, body, agent).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(Asked::Whole(reply)) => {
                drop(slot);
                self.ended(None, agent);
                Ok(reply)
            }
            Ok(Asked::Long(mut stream, head, ready)) => {
                let (chunks, received) = mpsc::unbounded_channel();
                let upstream = Arc::clone(&self);
                self.exchanges.spawn(async move {
                    let pumped = upstream
                        .pump(&mut stream, head.length, ready, &chunks)
                        .await;
                    drop((stream, slot));
                    upstream.ended(pumped.as_ref().err(), agent);
                    if let Err(error) = pumped {
                        let _ = chunks.send(Err(error));
                    }
                });
                Ok(Reply {
                    status: head.status,
                    body: ReplyBody::stream(head.length, received),
                })
            }
            Err(error) => {
                drop(slot);
                self.ended(Some(&error), agent);
                Err(error)
            }
        }
    }

    /// The books after an exchange.
    fn ended(self: &Arc<Self>, error: Option<&Error>, agent: &str) {
        self.note_health(error);
        match error {
            Some(error) => self.count_error(error),
            None if agent != PROBE_AGENT => self.warm_up(),
            None => {}
        }
    }

    /// Sends the request and takes the answer, up to the end of a short one and to the head of a long one.
    async fn ask(
        &self,
        mut stream: NodedStream,
        procedure: &str,
        body: Body,
        agent: &str,
    ) -> Result<Asked, Error> {
        let length = body.length();
        if is_long(length, self.settings.address.ip()) {
            let prepared = stream.prepare_long(self.settings.send_timeout);
            prepared.map_err(|error| Error::Internal(error.to_string()))?;
        }
        let request = wire::request(procedure, &self.host, agent, length);
        let asked = wire::ask(&mut stream, request, body).await;
        if let Err(Error::Client(_)) = asked {
            stream.reset(); // noded must not take what came for all
        }
        let (head, mut ready) = asked?;
        self.count_bytes(Direction::Request, length);
        if head.length > WHOLE {
            return Ok(Asked::Long(stream, head, ready));
        }
        let length = head.length as usize;
        while ready.len() < length {
            let room = length - ready.len() + 1; // one more, which should not come
            ready.reserve(room);
            more(&mut stream, &mut ready, room).await?;
        }
        nothing_behind(ready.len() as u64, head.length)?;
        self.count_bytes(Direction::Reply, head.length);
        Ok(Asked::Whole(Reply {
            status: head.status,
            body: ReplyBody::whole(ready.freeze()),
        }))
    }

    pub(super) async fn connect(&self) -> Result<NodedStream, Error> {
        let (address, limit) = (self.settings.address, self.settings.connect_timeout);
        self.metrics.connections.of(Connection::Opened).inc();
        let deadline = Instant::now() + limit;
        let tcp = timeout_at(deadline, LazyTcp::connect(address))
            .await
            .map_err(|_| Error::ConnectTimeout(limit))?
            .map_err(|error| Error::Connect(error.to_string()))?;
        match self.settings.tls {
            false => Ok(NodedStream::Plain(tcp)),
            true => Box::pin(self.shake_hands(tcp, deadline)).await,
        }
    }

    async fn shake_hands(&self, tcp: LazyTcp, deadline: Instant) -> Result<NodedStream, Error> {
        tcp.socket()
            .and_then(|socket| socket.set_tcp_nodelay(true))
            .map_err(|error| Error::Internal(error.to_string()))?;
        let snapshot = self.store.snapshot();
        let tls = snapshot
            .tls
            .as_ref()
            .ok_or_else(|| Error::Tls("no server.pem".into()))?;
        let stream = timeout_at(deadline, tls.connector.connect(tcp))
            .await
            .map_err(|_| Error::ConnectTimeout(self.settings.connect_timeout))?
            .map_err(Error::Tls)?;
        Ok(NodedStream::Tls(Box::new(stream)))
    }

    /// Passes a long answer on as it comes, out of a buffer that the memory budget bounds; once the client has left,
    /// takes it off noded all the same.
    async fn pump(
        &self,
        stream: &mut NodedStream,
        length: u64,
        ready: BytesMut,
        chunks: &mpsc::UnboundedSender<Chunk>,
    ) -> Result<(), Error> {
        let pieces = Arc::new(Pieces::default());
        let (mut memory, mut data) = (ready.len(), ready.freeze());
        let mut received = 0;
        loop {
            received += data.len() as u64;
            nothing_behind(received, length)?;
            self.count_bytes(Direction::Reply, data.len() as u64);
            if !chunks.is_closed() {
                tokio::select! {
                    lease = self.budget.take(memory) => {
                        let _ = chunks.send(Ok((data, lease)));
                    }
                    () = chunks.closed() => {}
                }
            }
            if received == length {
                return Ok(());
            }
            let mut piece = pieces.take().await;
            piece.reserve_exact(PIECE);
            let left = usize::try_from(length - received).unwrap_or(usize::MAX);
            // One byte more than is left should not come.
            more(stream, &mut piece, PIECE.min(left.saturating_add(1))).await?;
            (memory, data) = pieces.lend(piece);
        }
    }

    fn count_bytes(&self, direction: Direction, bytes: u64) {
        self.metrics.body_bytes.of(direction).inc_by(bytes);
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

/// Whether a request may need several pieces, or may wait for noded's acknowledgement. On loopback the kernel takes a
/// short one at once, whatever noded does.
fn is_long(length: u64, noded: IpAddr) -> bool {
    length > SHORT || !noded.is_loopback()
}

/// More bytes than Content-Length said make the answer as wrong as fewer do.
fn nothing_behind(received: u64, length: u64) -> Result<(), Error> {
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
