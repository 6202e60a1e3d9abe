//! One call of `version` without a slot, for `noded-proxy check`. It never serves a client.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::Error;
use super::exchange::PROBE_AGENT;
use super::server::Server;
use super::wire;
use crate::proxy::http::Body;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// What noded answered to `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The status.
    pub status: StatusCode,
    /// Which kind of noded it is.
    pub server: Server,
    /// The body.
    pub body: Bytes,
}

/// Calls `version` on a connection to noded. It has no deadline of its own.
pub async fn call_version<S>(stream: &mut S, address: SocketAddr) -> Result<Version, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let body = Body::whole(Bytes::from_static(b"[]"));
    let request = wire::request("version", &address.to_string(), PROBE_AGENT, body.length());
    let (head, received) = wire::ask(stream, request, body).await?;
    if head.length > MAX_ANSWER {
        let why = format!("{} bytes are too many", head.length);
        return Err(Error::BadReply(why));
    }
    let body = rest(stream, received, head.length as usize).await?;
    Ok(Version {
        status: head.status,
        server: head.server,
        body,
    })
}

/// Reads a body to its end.
async fn rest<S>(stream: &mut S, mut body: BytesMut, length: usize) -> Result<Bytes, Error>
where
    S: AsyncRead + Unpin,
{
    while body.len() < length {
        match stream.read_buf(&mut body).await {
            Ok(0) => return Err(Error::CutReply("connection closed".into())),
            Ok(_) => {}
            Err(error) => return Err(Error::CutReply(error.to_string())),
        }
    }
    body.truncate(length);
    Ok(body.freeze())
}
