//! A TCP stream that reads ahead and writes in bulk. TLS libraries read each record in two steps,
//! five bytes and the rest, and write each record alone. Without this, every step is a system call.
//! It never holds a buffer while there is nothing to read or write, and it never looks at the
//! bytes.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// Bytes to read at first: more than the longest message of a handshake.
const LEAST: usize = 4 << 10;
/// Bytes to read when that was not enough: several TLS records.
const MOST: usize = 64 << 10;

/// Writes of this length and more wait for the next one: a full record is seldom the last.
const LONG: usize = 8 << 10;
/// Most bytes that wait: four of the longest records with their headers (RFC 8446, 5.2).
const GATHERED: usize = 4 * (5 + (16 << 10) + 256);

thread_local! {
    /// The buffer that a worker reads ahead into. Nearly always it is empty again before the worker
    /// turns to another connection, so one is enough for all.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Whether these bytes are the beginning of a record of the handshake (RFC 8446, 5.1) that is not
/// whole yet, and that has room in what is read at first.
fn is_begun(bytes: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    match *bytes {
        [HANDSHAKE, _, _, high, low, ..] => {
            let whole = 5 + usize::from(u16::from_be_bytes([high, low]));
            bytes.len() < whole && whole <= LEAST
        }
        [first, ..] => first == HANDSHAKE && bytes.len() < 5,
        [] => false,
    }
}

/// Leaves the buffer, emptied, to the next stream of this worker.
fn give_back(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    SPARE.set(buffer);
}

/// The stream, the bytes that were read but not yet asked for, and those that wait to be written.
#[derive(Debug)]
pub struct Buffered {
    tcp: TcpStream,
    ahead: BytesMut,
    step: usize,
    gathers: bool,
    gathered: BytesMut,
}

impl Buffered {
    /// Reads ahead, and writes at once.
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            ahead: BytesMut::new(),
            step: LEAST,
            gathers: false,
            gathered: BytesMut::new(),
        }
    }

    /// From now on collects writes of 8 KiB and more and sends them together, at the latest on
    /// [`AsyncWrite::poll_flush`]. Only after the handshake: during it the library treats a pending
    /// flush as an error.
    pub(super) fn gather(&mut self) {
        self.gathers = true;
    }

    /// Waits for the client's first message; `false` when it closes without a byte. It waits for a
    /// whole one, so that whoever drips bytes gets no further, unless it is longer than any client's
    /// or no message of TLS: the handshake deals with those.
    pub async fn first_message(&mut self) -> io::Result<bool> {
        loop {
            let before = self.ahead.len();
            poll_fn(|context| self.poll_more(context, LEAST - before)).await?;
            if self.ahead.len() == before || !is_begun(&self.ahead) {
                return Ok(!self.ahead.is_empty());
            }
        }
    }

    /// Reads so many bytes more at most.
    fn poll_more(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        if self.ahead.capacity() == 0 {
            self.ahead = SPARE.take();
        }
        self.ahead.reserve(most);
        let mut some = (&mut self.ahead).limit(most);
        let read = poll_read_buf(Pin::new(&mut self.tcp), context, &mut some);
        if read.is_pending() {
            // It may wait for long: it keeps what has come, and not the buffer.
            let kept = BytesMut::from(&self.ahead[..]);
            give_back(&mut self.ahead);
            self.ahead = kept;
        }
        read.map_ok(drop)
    }

    /// The bytes that were read but not yet asked for.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Lets the kernel break the connection off when the peer takes nothing for so long of what is
    /// sent to it (TCP_USER_TIMEOUT, tcp(7)).
    pub(crate) fn give_up_after(&self, silence: Duration) {
        let _ = SockRef::from(&self.tcp).set_tcp_user_timeout(Some(silence));
    }

    /// Tells the peer that nothing more comes: it reads the end of the stream.
    pub(super) fn say_end(&self) {
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }

    /// Reads until there are bytes to hand out, or the stream ends.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.ahead.capacity() == 0 {
            self.ahead = SPARE.take();
        }
        self.ahead.reserve(self.step);
        let mut some = (&mut self.ahead).limit(self.step);
        match poll_read_buf(Pin::new(&mut self.tcp), context, &mut some) {
            Poll::Ready(read) => {
                let full = matches!(read, Ok(n) if n == self.step);
                self.step = if full { MOST } else { self.step };
                Poll::Ready(read.map(drop))
            }
            Poll::Pending => {
                give_back(&mut self.ahead);
                self.step = LEAST;
                Poll::Pending
            }
        }
    }

    /// Writes all bytes that wait.
    fn poll_write_gathered(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let tcp = Pin::new(&mut self.tcp);
            match ready!(poll_write_buf(tcp, context, &mut self.gathered))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                _ => continue,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() && buffer.remaining() >= self.step {
            return Pin::new(&mut self.tcp).poll_read(context, buffer); // nothing to gain
        }
        ready!(self.poll_fill(context))?;
        let some = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..some]);
        self.ahead.advance(some);
        if self.ahead.is_empty() {
            give_back(&mut self.ahead);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.is_empty() && (!self.gathers || data.len() < LONG) {
            return Pin::new(&mut self.tcp).poll_write(context, data);
        }
        if self.gathered.len() + data.len() > GATHERED {
            ready!(self.poll_write_gathered(context))?;
        }
        if self.gathered.is_empty() {
            self.gathered.reserve(GATHERED.max(data.len()));
        }
        self.gathered.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(context))?;
        self.gathered = BytesMut::new();
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
