//! The rest of a refused request, read and thrown away: a client that reads only after it has sent
//! everything, or is sending when the connection is closed, would not get the refusal. Nothing of it
//! is kept.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::Bodies;
use super::gather::GRACE;

/// After this silence nothing more is waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// How a refused request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The client has sent all of it, or stopped, and nothing says that it lost the answer.
    Over,
    /// The client reset the connection. TCP does so when it is closed before all that had come was
    /// read (RFC 2525, section 2.17): the answer was not taken.
    Reset,
    /// It was too long or took too long, so the connection is closed while the client sends.
    CutOff,
}

impl Rest {
    fn after(error: &hyper::Error) -> Self {
        let cause = error.source();
        let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.map(io::Error::kind) {
            Some(ErrorKind::UnexpectedEof) => Self::Over,
            Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Self::Reset,
            Some(_) | None => Self::CutOff,
        }
    }
}

impl Bodies {
    /// Reads the rest of a refused request and throws it away. Time and length are bounded.
    pub async fn discard(&self, incoming: Incoming) -> Rest {
        let rest = timeout(GRACE, discard(incoming, self.most().saturating_mul(4)));
        rest.await.unwrap_or(Rest::CutOff)
    }
}

async fn discard(mut incoming: Incoming, mut left: u64) -> Rest {
    while left > 0 {
        let frame = match timeout(SILENCE, incoming.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Rest::after(&error),
            Ok(None) | Err(_) => return Rest::Over,
        };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        if incoming.is_end_stream() {
            return Rest::Over; // hyper may not say so: once it has answered, it waits for a head
        }
    }
    Rest::CutOff
}
