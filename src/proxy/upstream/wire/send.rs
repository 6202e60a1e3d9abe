//! Sends a request in as few writes as its body allows, without copying long pieces.
//!
//! It never sends a body that is shorter or longer than its head says.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::proxy::http::Body;
use crate::proxy::upstream::error::Error;

/// Bytes of a body that go out in one write with the head of the request.
const TOGETHER: usize = 64 << 10;
/// Up to this, one copy of all pieces is cheaper than a list of them for the kernel.
const COPIED: usize = 4 << 10;

/// Pieces of a request that go out in one write, without a copy that joins them.
#[derive(Debug, Default)]
struct WriteQueue {
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl WriteQueue {
    fn push(&mut self, piece: Bytes) {
        self.remaining += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for WriteQueue {
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

pub(super) async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    head: Bytes,
    mut body: Body,
) -> Result<(), Error> {
    let length = body.length();
    let before = head.len();
    // A request that is there as a whole goes out in one write, so noded gets it in one read.
    let mut queue = WriteQueue::default();
    queue.push(head);
    while queue.remaining() < TOGETHER && body.has_ready() {
        queue.push(next(&mut body).await?.unwrap_or_default());
    }
    let mut sent = (queue.remaining() - before) as u64;
    write(writer, &mut queue).await?;
    loop {
        let more = gather(&mut body, &mut queue).await?;
        sent += queue.remaining() as u64;
        write(writer, &mut queue).await?;
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

/// Writes all of it. Copies it into one piece where that is cheaper, or where the stream takes one
/// piece at a time.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    queue: &mut WriteQueue,
) -> Result<(), Error> {
    let length = queue.remaining();
    let written = if length <= COPIED || !writer.is_write_vectored() {
        writer.write_all(&queue.copy_to_bytes(length)).await
    } else {
        writer.write_all_buf(queue).await
    };
    written.map_err(write_failed)
}

/// Waits for a piece of a body, and queues those that come right behind it; `false` at the end.
/// Each piece is one TLS record, and comes only when the one before was taken. One write for
/// several of them costs less than one write for each.
async fn gather(body: &mut Body, queue: &mut WriteQueue) -> Result<bool, Error> {
    let mut looked_again = false;
    poll_fn(|context| {
        while queue.remaining() < TOGETHER {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    queue.push(frame.into_data().unwrap_or_default());
                    looked_again = false;
                }
                Poll::Ready(Some(Err(refusal))) => return Poll::Ready(Err(Error::Client(refusal))),
                Poll::Ready(None) => return Poll::Ready(Ok(false)),
                Poll::Pending if !queue.has_remaining() => return Poll::Pending,
                Poll::Pending if looked_again => break,
                Poll::Pending => {
                    // The connection's own task hands the pieces over: let it run first.
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

    proptest! {
        #[test]
        fn queued_pieces_come_out_as_they_went_in(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            steps in prop::collection::vec(1..20_usize, 1..40),
        ) {
            let mut queue = WriteQueue::default();
            for piece in &pieces {
                queue.push(Bytes::from(piece.clone()));
            }
            let mut expected = &pieces.concat()[..];
            for step in steps {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = queue.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                prop_assert_eq!(queue.remaining(), expected.len());
                prop_assert!(expected.starts_with(&seen));
                prop_assert_eq!(seen.is_empty(), expected.is_empty());
                prop_assert!(expected.starts_with(queue.chunk()));
                prop_assert_eq!(queue.chunk().is_empty(), expected.is_empty());
                let step = step.min(expected.len());
                queue.advance(step);
                expected = &expected[step..];
            }
        }
    }
}
