//! HTTP/1.1 as noded speaks it: one request out, the head of one answer in.
//!
//! noded's server answers one request for each connection, always with Content-Length (`lib/http/server.py`), so
//! there is no connection to keep and nothing to negotiate. What it sends is trusted no further than this.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use super::Error;
use crate::proxy::http::Body;

/// Longest head of an answer, in bytes; noded's have 150.
const MAX_HEAD: usize = 16 << 10;
/// Header fields of an answer; noded sends five.
const MAX_FIELDS: usize = 64;
/// Room for the first reading, in bytes: head and body of most answers, and no more than malloc has at hand.
const FIRST: usize = 1 << 10;

/// Bytes of a body that are joined with the head of the request.
const JOINED: usize = 64 << 10;
/// Up to here one copy of all pieces is cheaper than handing the kernel a list of them.
const COPIED: usize = 4 << 10;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The status.
    pub(super) status: StatusCode,
    /// Length of the body, in bytes.
    pub(super) length: u64,
}

/// The head of a request, as few fields as noded needs.
pub(super) fn request(procedure: &str, host: &str, agent: &str, length: u64) -> Bytes {
    format!(
        "POST /{procedure} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    .into()
}

/// Pieces of a request that go out in one write, without being copied into one.
#[derive(Debug, Default)]
struct Joined {
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl Joined {
    fn push(&mut self, piece: Bytes) {
        self.remaining += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for Joined {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.pieces);
        filled
            .map(|(slice, piece)| *slice = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }
}

/// Sends a request and waits for the head of the answer. What came behind the head is in the buffer.
pub(super) async fn ask<S>(
    stream: &mut S,
    head: Bytes,
    body: Body,
) -> Result<(Head, BytesMut), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = split(stream);
    let mut answer = pin!(receive(&mut reader));
    let sent = tokio::select! {
        biased;
        sent = send(&mut writer, head, body) => sent,
        early = &mut answer => return early, // before it has read all, so it wants no more
    };
    match sent {
        Ok(()) => answer.await,
        // It closed while we sent: perhaps not without a word.
        Err(error @ Error::Send(_)) => answer.await.map_err(|_| error),
        Err(error) => Err(error),
    }
}

async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    head: Bytes,
    mut body: Body,
) -> Result<(), Error> {
    let length = body.length();
    let before = head.len();
    // One write for a request that is there as a whole, so that noded finds it in one read.
    let mut joined = Joined::default();
    joined.push(head);
    while joined.remaining() < JOINED && body.has_ready() {
        joined.push(next(&mut body).await?.unwrap_or_default());
    }
    let mut sent = (joined.remaining() - before) as u64;
    write(writer, &mut joined).await?;
    loop {
        let more = gather(&mut body, &mut joined).await?;
        sent += joined.remaining() as u64;
        write(writer, &mut joined).await?;
        if !more {
            break;
        }
    }
    if sent != length {
        let why = format!("a body of {sent} bytes where {length} were announced");
        return Err(Error::Internal(why));
    }
    writer.flush().await.map_err(write_failed)
}

/// Writes all of it: copied into one where that is cheaper, or where the stream takes one piece at a time.
async fn write(writer: &mut (impl AsyncWrite + Unpin), joined: &mut Joined) -> Result<(), Error> {
    let length = joined.remaining();
    let written = if length <= COPIED || !writer.is_write_vectored() {
        writer.write_all(&joined.copy_to_bytes(length)).await
    } else {
        writer.write_all_buf(joined).await
    };
    written.map_err(write_failed)
}

/// Waits for a piece of a body, and joins those that come right behind it; `false` at the end. The pieces are those of TLS
/// records, each is handed over when the one before was taken, and a write for each of them costs more than joining some.
async fn gather(body: &mut Body, joined: &mut Joined) -> Result<bool, Error> {
    let mut looked_again = false;
    poll_fn(|context| {
        while joined.remaining() < JOINED {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    joined.push(frame.into_data().unwrap_or_default());
                    looked_again = false;
                }
                Poll::Ready(Some(Err(refusal))) => return Poll::Ready(Err(Error::Client(refusal))),
                Poll::Ready(None) => return Poll::Ready(Ok(false)),
                Poll::Pending if !joined.has_remaining() => return Poll::Pending,
                Poll::Pending if looked_again => break,
                Poll::Pending => {
                    // Whoever hands the pieces over has its turn first.
                    looked_again = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(true))
    })
    .await
}

/// The next piece of a body; an error if its sender failed.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Error> {
    match body.frame().await {
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(refusal)) => Err(Error::Client(refusal)),
        None => Ok(None),
    }
}

async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> Result<(Head, BytesMut), Error> {
    let mut received = BytesMut::with_capacity(FIRST);
    loop {
        let closed = match reader.read_buf(&mut received).await {
            Ok(0) => "connection closed".into(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Error::SendTimeout);
            }
            Err(error) => error.to_string(),
            Ok(_) => match final_head(&mut received)? {
                Some(head) => return Ok((head, received)),
                None => continue,
            },
        };
        return Err(match received.is_empty() {
            true => Error::EmptyReply(closed),
            false => Error::CutReply(closed),
        });
    }
}

/// Takes the head off the buffer, and interim answers (RFC 9110, 15.2) in front of it; `None` while it is not whole.
fn final_head(received: &mut BytesMut) -> Result<Option<Head>, Error> {
    while let Some((head, end)) = parse(received)? {
        received.advance(end);
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The head at the beginning of these bytes and where it ends; `None` while it is not whole. Pure.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(bad("its head is too long")),
        Err(error) => return Err(bad(&error.to_string())),
    };
    let code = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = code.ok_or_else(|| bad("it has no status"))?;
    if status.is_informational() {
        return Ok(Some((Head { status, length: 0 }, end)));
    }
    let mut length = None;
    for field in response.headers {
        if field.name.eq_ignore_ascii_case("Transfer-Encoding") {
            return Err(bad("it has no Content-Length, but Transfer-Encoding"));
        }
        if field.name.eq_ignore_ascii_case("Content-Length") {
            let this = digits(field.value).ok_or_else(|| bad("its Content-Length is no number"))?;
            if length.is_some_and(|length| length != this) {
                return Err(bad("it has two different Content-Length"));
            }
            length = Some(this);
        }
    }
    match length {
        Some(length) => Ok(Some((Head { status, length }, end))),
        None => Err(bad("it has no Content-Length")),
    }
}

/// A number as RFC 9110, 8.6 writes Content-Length: digits and nothing else.
fn digits(value: &[u8]) -> Option<u64> {
    let all_digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| all_digits)?;
    text.parse().ok()
}

fn bad(why: &str) -> Error {
    Error::BadReply(why.into())
}

fn write_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::SendTimeout,
        _ => Error::Send(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(status: u16, length: u64) -> Head {
        let status = StatusCode::from_u16(status).unwrap();
        Head { status, length }
    }

    #[test]
    fn heads_as_noded_sends_them() {
        let text = "HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2026 00:00:00 GMT\r\nServer: Ganeti\r\n\
                    Connection: close\r\nContent-Length: 22\r\nContent-Type: application/json\r\n\r\n";
        let whole = format!("{text}[true, [40, 0, 0]]");
        let end = text.len();
        assert_eq!(parse(whole.as_bytes()), Ok(Some((head(200, 22), end))));
        for cut in 0..end {
            assert_eq!(parse(&whole.as_bytes()[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn odd_heads() {
        let table = [
            (
                "HTTP/1.0 500 Oops\r\ncontent-length: 0\r\n\r\n",
                Some(head(500, 0)),
            ),
            (
                "HTTP/1.1 200\r\nContent-Length:7\r\n\r\n",
                Some(head(200, 7)),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n",
                Some(head(200, 7)),
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", Some(head(100, 0))),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n",
                None,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: +7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", None),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
                None,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
                None,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.1 20 OK\r\nContent-Length: 7\r\n\r\n", None),
            ("SSH-2.0-OpenSSH_9.2\r\n", None),
        ];
        for (text, expected) in table {
            let found = parse(text.as_bytes());
            match expected {
                Some(head) => assert_eq!(found, Ok(Some((head, text.len()))), "{text:?}"),
                None => assert!(
                    matches!(found, Err(Error::BadReply(_))),
                    "{text:?}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut text = String::from("HTTP/1.1 200 OK\r\nX: ");
        text.push_str(&"y".repeat(MAX_HEAD));
        assert!(matches!(parse(text.as_bytes()), Err(Error::BadReply(_))));
    }

    proptest! {
        #[test]
        fn joined_pieces_come_out_as_they_went_in(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            steps in prop::collection::vec(1..20_usize, 1..40),
        ) {
            let mut joined = Joined::default();
            for piece in &pieces {
                joined.push(Bytes::from(piece.clone()));
            }
            let mut expected = &pieces.concat()[..];
            for step in steps {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = joined.chunks_vectored(&mut slices);
                let seen = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect::<Vec<_>>();
                prop_assert_eq!(joined.remaining(), expected.len());
                prop_assert!(expected.starts_with(&seen));
                prop_assert_eq!(seen.is_empty(), expected.is_empty());
                prop_assert!(expected.starts_with(joined.chunk()));
                prop_assert_eq!(joined.chunk().is_empty(), expected.is_empty());
                let step = step.min(expected.len());
                joined.advance(step);
                expected = &expected[step..];
            }
        }

        #[test]
        fn no_bytes_panic_and_the_end_is_inside(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let with_start = [&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"[..], &bytes].concat();
            for bytes in [&bytes, &with_start] {
                if let Ok(Some((_, end))) = parse(bytes) {
                    prop_assert!(end <= bytes.len());
                }
            }
        }
    }
}
