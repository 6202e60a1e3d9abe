//! Sends a request in as few writes as its body allows, without copying long pieces.
//!
//! It never sends a body that is shorter or longer than its head says.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
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
    let (length, mut sent) = (body.length(), 0);
    // A request that is in memory goes out in as few writes as possible, so noded gets a short one
    // in one read.
    let mut queue = WriteQueue::default();
    queue.push(head);
    loop {
        while queue.remaining() < TOGETHER && body.has_ready() {
            sent += push_next(&mut body, &mut queue).await?;
        }
        write(writer, &mut queue).await?;
        match push_next(&mut body, &mut queue).await? {
            0 => break,
            more => sent += more,
        }
    }
    if sent != length {
        let why = format!("a body of {sent} bytes where {length} were announced");
        return Err(Error::Internal(why));
    }
    writer.flush().await.map_err(write_failed)
}

/// Queues the next piece of a body, and returns its length; 0 at the end.
async fn push_next(body: &mut Body, queue: &mut WriteQueue) -> Result<u64, Error> {
    let piece = body.next().await;
    let piece = piece.map_err(|fault| Error::Internal(fault.to_string()))?;
    let piece = piece.unwrap_or_default();
    let length = piece.len() as u64;
    queue.push(piece);
    Ok(length)
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
