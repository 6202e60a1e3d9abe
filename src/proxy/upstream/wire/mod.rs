//! HTTP/1.1 as noded speaks it: one request out, the head of one answer in.
//!
//! noded answers one request for each connection, always with Content-Length
//! (`lib/http/server.py`), so there is no connection to keep and nothing to negotiate. hyper's
//! client took a task, a channel and 16 KiB for each call, and did not tell a cut answer from an
//! empty or a bad one. Of what noded sends, nothing but the head is understood here.

mod head;
mod send;

use std::io;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, split};

use super::error::Error;
use crate::proxy::http::Body;
use crate::tls;
use head::final_head;
use send::send;

pub(super) use head::{Head, request};

/// Room for the first read, in bytes: head and body of most answers, and small enough that malloc
/// has it at hand.
const FIRST: usize = 1 << 10;

/// Sends a request and waits for the head of the answer. The buffer has what came behind the head.
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
        early = &mut answer => return early, // an answer before the end: it wants no more
    };
    match sent {
        Ok(()) => answer.await,
        // It closed while we sent. It may have answered before that.
        Err(error @ Error::Send(_)) => answer.await.map_err(|why| match why {
            Error::Tls(_) => why,
            _ => error,
        }),
        Err(error) => Err(error),
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
            // In TLS 1.3 noded says no after our side of the handshake is done.
            Err(error) => match tls::alert(&error).filter(|_| received.is_empty()) {
                Some(alert) => return Err(Error::Tls(alert)),
                None => error.to_string(),
            },
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
