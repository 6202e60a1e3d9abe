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
//! It never changes a byte of what it lets pass.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use hyper::Uri;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio_util::io::poll_read_buf;

use super::Refusal;

/// Longest head of a request, in bytes; Ganeti's have 200.
pub const MAX_HEAD: usize = 16 << 10;
/// Most fields of a head; Ganeti's clients send five.
pub const MAX_FIELDS: usize = 64;

/// Bytes to read at a time while the head comes.
const STEP: usize = 4 << 10;

/// How a request in chunks ends, without trailers. What only looks like it makes the gate wait for
/// no more than the time that a body has.
const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";

/// What stands in for a refused head. What follows counts as its body, which is thrown away.
const STAND_IN: &[u8] =
    b"POST /refused HTTP/1.1\r\nHost: refused\r\nContent-Length: 1152921504606846976\r\n\r\n";

/// How a request says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length, or no body.
    Length(u64),
    /// The gate does not look for the end of the chunks, so this request is the connection's last.
    Chunked,
}

/// The requests that have come through a gate, in their order.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    verdicts: VecDeque<Result<Framing, Refusal>>,
    unanswered: usize,
    /// Wants to know when all are answered.
    waiting: Option<Waker>,
}

/// What the gate says of one request.
#[derive(Debug)]
pub struct Arrival {
    /// Where its body ends, or why it is refused.
    pub verdict: Result<Framing, Refusal>,
    /// To be dropped when it is answered.
    pub unanswered: Unanswered,
}

/// Keeps the connection open while a request is not answered.
#[derive(Debug)]
pub struct Unanswered(Arrivals);

/// The stream between TLS and hyper.
#[derive(Debug)]
pub struct Gate<S> {
    stream: Take<S>,
    state: State,
    buffer: BytesMut,
    /// Bytes at the front of the buffer that hyper may have.
    passed: usize,
    arrivals: Arrivals,
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

impl Arrivals {
    /// The request that hyper has read; each is there once.
    pub fn next(&self) -> Arrival {
        let unknown = || Err(Refusal::Head("it did not come through the gate".into()));
        let verdict = self.lock().verdicts.pop_front().unwrap_or_else(unknown);
        let unanswered = Unanswered(self.clone());
        Arrival {
            verdict,
            unanswered,
        }
    }

    fn add(&self, verdict: Result<Framing, Refusal>) {
        let mut books = self.lock();
        books.verdicts.push_back(verdict);
        books.unanswered += 1;
    }

    /// Returns when all are answered.
    fn poll_answered(&self, context: &Context<'_>) -> Poll<()> {
        let mut books = self.lock();
        if books.unanswered == 0 {
            return Poll::Ready(());
        }
        books.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut books = self.0.lock();
        books.unanswered = books.unanswered.saturating_sub(1);
        if let Some(waiting) = books.waiting.take() {
            waiting.wake();
        }
    }
}

impl<S: AsyncRead> Gate<S> {
    /// A gate in front of this stream, and what comes through it.
    pub fn new(stream: S) -> (Self, Arrivals) {
        let arrivals = Arrivals::default();
        let gate = Self {
            stream: stream.take(u64::MAX),
            state: State::Head,
            buffer: BytesMut::new(),
            passed: 0,
            arrivals: arrivals.clone(),
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
        self.buffer.advance(empty); // RFC 9112 section 2.2: empty lines before a request
        let (end, verdict) = match end_of_head(&self.buffer) {
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
            Err(_) => {
                let rest = self.buffer.split_off(end);
                self.buffer = BytesMut::from(STAND_IN);
                self.buffer.extend_from_slice(&rest);
                self.passed = self.buffer.len();
                self.state = State::Refused;
            }
        }
        self.arrivals.add(verdict);
        true
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
                State::Body(left) => {
                    gate.stream.set_limit(left);
                    let before = out.filled().len();
                    let read = Pin::new(&mut gate.stream).poll_read(context, out);
                    gate.stream.set_limit(u64::MAX);
                    ready!(read)?;
                    gate.state = match out.filled().len() - before {
                        0 => State::Last,
                        count => State::Body(left - count as u64),
                    };
                    return Poll::Ready(Ok(()));
                }
                State::Head => ready!(gate.poll_head(context))?,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads until a head was judged, or the stream ends.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.buffer.is_empty() || !self.look() {
            self.buffer.reserve(STEP);
            let read = poll_read_buf(Pin::new(&mut self.stream), context, &mut self.buffer);
            if read.is_pending() && self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            if ready!(read)? == 0 {
                self.passed = self.buffer.len(); // hyper says what it thinks of half a head
                self.state = State::Ended;
                break;
            }
        }
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

/// Where a head ends that begins here: behind its first empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.find_map(|(at, _)| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Whether a whole head is understood in one way, and where its body ends. Pure.
fn judge(head: &[u8]) -> Result<Framing, Refusal> {
    let bare_lf = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
    if head.windows(2).any(bare_lf) {
        return Err(malformed("a line ends with LF alone"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(malformed("it has no end")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(error) => return Err(malformed(&error.to_string())),
    }
    let target = request.path.unwrap_or_default();
    if target.contains('#') || target.parse::<Uri>().is_err() {
        return Err(Refusal::Path);
    }
    framing(request.headers, request.version == Some(0))
}

/// RFC 9112 section 6, without the choices that it leaves: one length, said once.
fn framing(fields: &[httparse::Header<'_>], is_http_10: bool) -> Result<Framing, Refusal> {
    let mut values = [Vec::new(), Vec::new()];
    for field in fields {
        let names = ["Content-Length", "Transfer-Encoding"];
        for (name, values) in names.iter().zip(&mut values) {
            if field.name.eq_ignore_ascii_case(name) {
                values.push(field.value);
            }
        }
    }
    let [lengths, codings] = values;
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => digits(length)
            .map(Framing::Length)
            .ok_or(Refusal::Framing("Content-Length is not a number")),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !is_http_10 => {
            Ok(Framing::Chunked)
        }
        ([], [_]) if is_http_10 => Err(Refusal::Framing("HTTP/1.0 has no Transfer-Encoding")),
        ([], [_]) => Err(Refusal::Framing("Transfer-Encoding is not chunked")),
        ([_, ..], [_, ..]) => Err(Refusal::Framing(
            "there are Content-Length and Transfer-Encoding",
        )),
        ([_, ..], []) => Err(Refusal::Framing("Content-Length is there twice")),
        ([], _) => Err(Refusal::Framing("Transfer-Encoding is there twice")),
    }
}

/// A number as RFC 9110 section 8.6 writes Content-Length. hyper keeps the two largest for itself.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number < u64::MAX - 1);
    number.filter(|_| all_digits)
}

fn malformed(why: &str) -> Refusal {
    Refusal::Head(why.into())
}

#[cfg(test)]
mod tests;
