//! A gate in front of hyper: it reads the head of each request first, with the parser that hyper
//! uses, and lets pass only what is understood in one way. hyper is lenient where RFC 9112 allows
//! it (a length that is said twice or in two ways, a bare LF, a fragment), and answers what it
//! cannot read without a word. A request that the gate refuses reaches hyper with a head of the
//! gate's own, so it gets an answer like all others.
//!
//! A client may end its side when it has asked (socat does), and still reads. hyper would take that
//! for the client's departure, so the gate keeps the end back until the request is answered. A
//! reset is told at once.
//!
//! It also keeps the time for a head. A connection without a request ends when it is over; a head
//! that comes too slowly, or ends in the middle, is refused like any other.
//!
//! It never changes a byte of what it lets pass.

mod arrivals;
mod clock;
mod head;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio_util::io::poll_read_buf;

use super::Refusal;
pub use arrivals::{Arrival, Arrivals, Unanswered};
use clock::Clock;
pub use head::{Framing, MAX_FIELDS};
use head::{end_of_head, judge};

/// Longest head of a request, in bytes; Ganeti's have 200.
const MAX_HEAD: usize = 16 << 10;

/// Bytes to read at a time while the head comes.
const STEP: usize = 4 << 10;

/// Most bytes that hyper reads at once: several of the longest TLS records. It gives no more room
/// than was needed before.
pub const MOST_READ: usize = 64 << 10;

/// Longest piece of data in one TLS record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;

/// Most bytes of empty lines before a head. One line is to be ignored (RFC 9112 section 2.2); without
/// end they would be a head that never comes and never is slow.
const MOST_EMPTY: usize = 64;

/// How a request in chunks ends, without trailers. What only looks like it makes the gate wait for
/// no more than the time that a body has.
const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";

/// What stands in for a refused head. What follows counts as its body, which is thrown away.
const STAND_IN: &[u8] =
    b"POST /refused HTTP/1.1\r\nHost: refused\r\nContent-Length: 1152921504606846976\r\n\r\n";

/// The stream between TLS and hyper.
#[derive(Debug)]
pub struct Gate<S> {
    stream: Take<S>,
    state: State,
    buffer: BytesMut,
    /// Bytes at the front of the buffer that hyper may have.
    passed: usize,
    arrivals: Arrivals,
    clock: Clock,
    /// Bytes of empty lines before this head.
    empty: usize,
    /// What broke the stream off behind the last bytes that were handed on.
    broken: Option<io::Error>,
    /// hyper has written, and not all of it has gone out.
    unflushed: bool,
    /// Wants to know when it has.
    waiting: Option<Waker>,
    /// The last bytes of a request in chunks.
    tail: [u8; LAST_CHUNK.len()],
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// All that comes is the last request's, in chunks.
    Last,
    /// All that comes is a refused request's.
    Refused,
    /// Nothing comes any more, and nothing is missing.
    Ended,
}

impl<S: AsyncRead> Gate<S> {
    /// A gate in front of this stream, and what comes through it. A head must be there within this
    /// time from the end of the previous answer.
    pub fn new(stream: S, head_timeout: Duration) -> (Self, Arrivals) {
        let arrivals = Arrivals::default();
        let gate = Self {
            stream: stream.take(u64::MAX),
            state: State::Head,
            buffer: BytesMut::new(),
            passed: 0,
            arrivals: arrivals.clone(),
            clock: Clock::new(head_timeout),
            empty: 0,
            broken: None,
            unflushed: false,
            waiting: None,
            tail: [0; LAST_CHUNK.len()],
        };
        (gate, arrivals)
    }

    /// Looks for a whole head in the buffer, and judges it; `false` if more must come.
    fn look(&mut self) -> bool {
        let lines = self.buffer.iter().take_while(|byte| b"\r\n".contains(byte));
        let empty = lines.count();
        self.buffer.advance(empty);
        self.empty += empty;
        let (end, verdict) = match end_of_head(&self.buffer) {
            _ if self.empty > MOST_EMPTY => (
                0,
                Err(Refusal::Head("too many empty lines before it".into())),
            ),
            Some(end) if end <= MAX_HEAD => (end, judge(&self.buffer[..end])),
            None if self.buffer.len() < MAX_HEAD => return false,
            _ => (0, Err(Refusal::HeadTooLarge)),
        };
        let behind = (self.buffer.len() - end) as u64;
        match verdict {
            Ok(Framing::Length(length)) => {
                let here = length.min(behind);
                self.passed = end + here as usize;
                self.state = State::Body(length - here);
            }
            Ok(Framing::Chunked) => {
                self.passed = self.buffer.len();
                follow(&mut self.tail, &self.buffer[end..]);
                self.state = State::Last;
            }
            Err(refusal) => {
                self.buffer.advance(end);
                self.refuse(refusal);
                return true;
            }
        }
        self.empty = 0;
        self.arrivals.add(verdict);
        true
    }

    /// Puts the stand-in in front of what is left in the buffer.
    fn refuse(&mut self, refusal: Refusal) {
        self.buffer = BytesMut::from_iter(STAND_IN.iter().chain(&self.buffer).copied());
        self.passed = self.buffer.len();
        self.state = State::Refused;
        self.arrivals.add(Err(refusal));
    }

    /// No head comes any more: what there is of one is refused, and if there is nothing, that is
    /// the end.
    fn give_up(&mut self, refusal: Refusal) {
        match self.buffer.is_empty() {
            true => self.state = State::Ended,
            false => self.refuse(refusal),
        }
    }

    /// Hands on what has passed.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let some = self.passed.min(out.remaining());
        out.put_slice(&self.buffer[..some]);
        self.buffer.advance(some);
        self.passed -= some;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new(); // an idle connection holds no buffer
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        loop {
            if gate.passed > 0 {
                gate.hand_on(out);
                return Poll::Ready(Ok(()));
            }
            match gate.state {
                State::Last => {
                    let before = out.filled().len();
                    ready!(Pin::new(&mut gate.stream).poll_read(context, out))?;
                    let new = &out.filled()[before..];
                    if !new.is_empty() || gate.tail != *LAST_CHUNK {
                        follow(&mut gate.tail, new);
                        return Poll::Ready(Ok(()));
                    }
                    gate.state = State::Ended;
                }
                State::Refused => {
                    let before = out.filled().len();
                    ready!(Pin::new(&mut gate.stream).poll_read(context, out))?;
                    if out.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                    gate.state = State::Ended;
                }
                State::Ended if gate.unflushed => {
                    gate.waiting = Some(context.waker().clone());
                    return Poll::Pending;
                }
                State::Ended => return gate.arrivals.poll_answered(context).map(Ok),
                State::Body(0) => gate.state = State::Head,
                State::Body(_) if gate.broken.is_some() => {
                    return Poll::Ready(gate.broken.take().map_or(Ok(()), Err));
                }
                State::Body(left) => return gate.poll_body(context, left, out),
                State::Head => ready!(gate.poll_head(context))?,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads what there is of a body of which so many bytes are still to come. TLS gives one record
    /// at a time; hyper gets all that it has room for, because each piece is a turn of two tasks.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        mut left: u64,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = out.filled().len();
        loop {
            let before = out.filled().len();
            self.stream.set_limit(left);
            let read = Pin::new(&mut self.stream).poll_read(context, out);
            self.stream.set_limit(u64::MAX);
            let count = out.filled().len() - before;
            left -= count as u64;
            self.state = State::Body(left);
            match read {
                Poll::Ready(Ok(())) if count == 0 => self.state = State::Last,
                Poll::Ready(Ok(())) if left > 0 && out.remaining() > 0 => continue,
                Poll::Ready(Err(error)) if before > begin => self.broken = Some(error),
                Poll::Pending | Poll::Ready(Err(_)) if before == begin => return read,
                _ => {} // what has come comes first
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// Reads until a head was judged, or none comes any more.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.buffer.is_empty() || !self.look() {
            self.buffer.reserve(STEP);
            let read = poll_read_buf(Pin::new(&mut self.stream), context, &mut self.buffer);
            if read.is_pending() {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                ready!(self.arrivals.poll_answered(context)); // hyper reads ahead
                ready!(self.clock.poll_over(context));
                self.give_up(Refusal::SlowHead);
                break;
            }
            if ready!(read)? == 0 {
                self.give_up(Refusal::Head("it ends in the middle".into()));
                break;
            }
        }
        self.clock.stop();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        Pin::new(self.stream.get_mut()).poll_write(context, data)
    }

    /// A head and the start of its body go out as one TLS record. hyper keeps what it has written
    /// in pieces as the pieces they are, so a reply's memory is given back when it has gone out.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        let first: &[u8] = filled.next().map_or(&[], |piece| piece);
        if first.len() >= RECORD || filled.next().is_none() {
            return self.poll_write(context, first);
        }
        let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut record = Vec::with_capacity(whole.min(RECORD));
        for piece in pieces {
            let room = RECORD - record.len();
            record.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.poll_write(context, &record)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self.stream.get_mut()).poll_flush(context))?;
        self.unflushed = false;
        self.waiting.take().inspect(Waker::wake_by_ref);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}

/// Keeps the last bytes of what comes.
fn follow(tail: &mut [u8; LAST_CHUNK.len()], new: &[u8]) {
    for byte in &new[new.len().saturating_sub(tail.len())..] {
        tail.rotate_left(1);
        tail[LAST_CHUNK.len() - 1] = *byte;
    }
}

#[cfg(test)]
mod tests;
