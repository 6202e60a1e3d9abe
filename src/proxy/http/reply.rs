//! Reply bodies on their way to the client: whole, or streamed out of a bounded buffer. A cut reply
//! never looks whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::UnboundedReceiver;

/// Why a streamed reply ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cut(pub String);

/// A piece of a streamed reply, or why no more comes.
pub type Chunk = Result<Bytes, Cut>;

/// What happens when an answer has been handed over or given up: the log line and the counters.
pub trait OnEnd: Send + 'static {
    /// Called once. `sent` bytes of the body were handed over; `cut` if noded cut the reply.
    fn ended(self: Box<Self>, sent: u64, complete: bool, cut: Option<&Cut>);
}

/// The body of an answer. Its length is always known, so hyper always sends Content-Length. A
/// stream that ends early is an error, so that hyper breaks the connection off.
///
/// hyper drops the body when it has handed over the last byte, or when the client has left. That is
/// the only moment that every answer reaches, so [`OnEnd`] is called in the drop.
pub struct ReplyBody {
    left: u64,
    sent: u64,
    content: Content,
    on_end: Option<Box<dyn OnEnd>>,
    cut: Option<Cut>,
}

enum Content {
    Whole(Option<Bytes>),
    Stream(UnboundedReceiver<Chunk>),
}

impl ReplyBody {
    /// A body that is already complete.
    pub fn whole(data: Bytes) -> Self {
        Self::new(data.len() as u64, Content::Whole(Some(data)))
    }

    /// A body of `length` bytes that comes in pieces.
    pub fn stream(length: u64, chunks: UnboundedReceiver<Chunk>) -> Self {
        Self::new(length, Content::Stream(chunks))
    }

    fn new(left: u64, content: Content) -> Self {
        Self {
            left,
            sent: 0,
            content,
            on_end: None,
            cut: None,
        }
    }

    /// Calls `on_end` when this body has ended.
    pub fn on_end(mut self, on_end: Box<dyn OnEnd>) -> Self {
        self.on_end = Some(on_end);
        self
    }
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match &mut self.content {
            Content::Whole(data) => data.take().filter(|data| !data.is_empty()).map(Ok),
            Content::Stream(chunks) => match std::task::ready!(chunks.poll_recv(context)) {
                None if self.left > 0 => Some(Err(Cut("the exchange with noded ended".into()))),
                next => next,
            },
        };
        Poll::Ready(match next {
            Some(Ok(data)) => {
                self.left = self.left.saturating_sub(data.len() as u64);
                self.sent += data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
            Some(Err(cut)) => {
                self.cut = Some(cut.clone());
                Some(Err(cut))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        // A stream is polled to its end even when all bytes are there: an error may follow.
        self.left == 0 && matches!(self.content, Content::Whole(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            let complete = self.left == 0 && self.cut.is_none();
            on_end.ended(self.sent, complete, self.cut.as_ref());
        }
    }
}
