//! Reply bodies on their way to the client: whole, or streamed out of a bounded buffer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Lease;
use crate::proxy::upstream::Error;

/// A piece of a streamed reply, or the fault that cut it.
pub type Chunk = Result<(Bytes, Lease), Error>;

/// Told once when an answer has been handed over or given up: the place for the log line.
pub trait Replies: Send + 'static {
    /// `sent` bytes of the body were handed over; `error` if noded cut the reply.
    fn ended(self: Box<Self>, sent: u64, complete: bool, error: Option<&Error>);
}

/// The body of an answer. Its length is always known, so hyper always sends Content-Length; a stream that
/// ends early is an error, so that hyper breaks the connection off and a cut reply never looks whole.
pub struct ReplyBody {
    left: u64,
    sent: u64,
    source: Source,
    ended: Option<Box<dyn Replies>>,
    error: Option<Error>,
}

enum Source {
    Whole(Option<Bytes>),
    Stream(UnboundedReceiver<Chunk>),
}

impl ReplyBody {
    /// A body that is there as a whole.
    pub fn whole(data: Bytes) -> Self {
        Self::new(data.len() as u64, Source::Whole(Some(data)))
    }

    /// A body of `length` bytes that comes in pieces.
    pub fn stream(length: u64, chunks: UnboundedReceiver<Chunk>) -> Self {
        Self::new(length, Source::Stream(chunks))
    }

    fn new(left: u64, source: Source) -> Self {
        Self {
            left,
            sent: 0,
            source,
            ended: None,
            error: None,
        }
    }

    /// Tells `replies` when this body has ended.
    pub fn tell(mut self, replies: Box<dyn Replies>) -> Self {
        self.ended = Some(replies);
        self
    }
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match &mut self.source {
            Source::Whole(data) => data.take().filter(|data| !data.is_empty()).map(Ok),
            Source::Stream(chunks) => match std::task::ready!(chunks.poll_recv(context)) {
                Some(Ok((data, _lease))) => Some(Ok(data)),
                Some(Err(error)) => Some(Err(error)),
                None if self.left > 0 => Some(Err(Error::CutReply("the exchange ended".into()))),
                None => None,
            },
        };
        Poll::Ready(match next {
            Some(Ok(data)) => {
                self.left = self.left.saturating_sub(data.len() as u64);
                self.sent += data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => {
                self.error = Some(error.clone());
                Some(Err(error))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        // A stream is polled to its end even when all bytes are there: what follows may be a fault.
        self.left == 0 && matches!(self.source, Source::Whole(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Some(replies) = self.ended.take() {
            let complete = self.left == 0 && self.error.is_none();
            replies.ended(self.sent, complete, self.error.as_ref());
        }
    }
}
