//! Sends a request in as few writes as its body allows.
//!
//! It never sends a body that is shorter or longer than its head says.

use std::io;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::proxy::http::{Body, Refusal};
use crate::proxy::upstream::error::Error;

/// Up to this, one copy of head and body is cheaper than a list of two for the kernel.
const COPIED: usize = 4 << 10;
/// Up to this, they are copied for a stream that takes one piece at a time, as TLS does.
const TOGETHER: usize = 64 << 10;

/// Sends head and body. The first piece of the body goes out with the head, so noded gets a short
/// request in one read.
pub(super) async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    head: Bytes,
    mut body: Body,
) -> Result<(), Error> {
    let length = body.length();
    let first = body.next().await.map_err(unreadable)?;
    let mut sent = first.len() as u64;
    write_together(writer, head, first).await?;
    while sent < length {
        let piece = body.next().await.map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        sent += piece.len() as u64;
        writer.write_all(piece).await.map_err(write_failed)?;
    }
    if sent != length {
        let why = format!("a body of {sent} bytes where {length} were announced");
        return Err(Error::Internal(why));
    }
    writer.flush().await.map_err(write_failed)
}

async fn write_together(
    writer: &mut (impl AsyncWrite + Unpin),
    head: Bytes,
    body: &[u8],
) -> Result<(), Error> {
    let length = head.len() + body.len();
    let copied = match writer.is_write_vectored() {
        true => COPIED,
        false => TOGETHER,
    };
    let mut both = head.chain(body);
    let written = match length <= copied {
        true => writer.write_all(&both.copy_to_bytes(length)).await,
        false => writer.write_all_buf(&mut both).await,
    };
    written.map_err(write_failed)
}

fn unreadable(fault: Refusal) -> Error {
    Error::Internal(fault.to_string())
}

fn write_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::SendTimeout,
        _ => Error::Send(error.to_string()),
    }
}
