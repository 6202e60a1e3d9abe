//! Request bodies: gathered before a slot is taken, so that a slow client costs noded nothing.
//!
//! A body of up to `limits.body_in_memory` is gathered whole. A longer one with a known length is
//! passed on as it comes, but not slower than a floor rate. A longer chunked one has no length yet,
//! and noded needs one, so it is gathered whole too (within `limits.memory`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::{Budget, Lease, Refusal};

/// Every sender has this much time, however slow it is.
const GRACE: Duration = Duration::from_secs(10);
/// Longest silence while the body is passed on: noded gives up after 10 s.
const SILENCE: Duration = Duration::from_secs(5);

/// Bounds of a request body, in bytes and bytes a second.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Largest body.
    pub most: u64,
    /// Gathered whole up to this.
    pub in_memory: u64,
    /// Slowest sender.
    pub rate: u64,
}

/// After this silence the client of a refused request waits for the answer.
const CLIENT_WAITS: Duration = Duration::from_secs(1);

/// A request body with a known length. All of it that has come is ASCII.
#[derive(Debug)]
pub struct Body {
    length: u64,
    sent: u64,
    ready: VecDeque<Bytes>,
    rest: Option<Rest>,
    leases: Vec<Lease>,
}

/// The part of a body that has not come yet.
#[derive(Debug)]
struct Rest {
    incoming: Incoming,
    meter: Meter,
    alarm: Pin<Box<Sleep>>,
}

/// The floor rate: by when the next byte must come.
#[derive(Debug, Clone, Copy)]
struct Meter {
    start: Instant,
    received: u64,
    rate: u64,
}

impl Meter {
    fn due(&self) -> Instant {
        self.start + GRACE + Duration::from_secs(self.received / self.rate)
    }
}

impl Body {
    /// Gathers a body whole, or as much of it as must be in memory before a slot is taken.
    pub async fn gather(
        mut incoming: Incoming,
        limits: BodyLimits,
        budget: &Budget,
    ) -> Result<Self, Refusal> {
        let known = incoming.size_hint().exact();
        if known.is_some_and(|length| length > limits.most) {
            discard(incoming, limits).await;
            return Err(Refusal::BodyTooLarge(limits.most));
        }
        // Without a length only the last chunk tells where the end is, even at the limit.
        let in_memory = known.map_or(u64::MAX, |_| limits.in_memory);
        let mut meter = Meter {
            start: Instant::now(),
            received: 0,
            rate: limits.rate,
        };
        let mut body = Self {
            length: 0,
            sent: 0,
            ready: VecDeque::new(),
            rest: None,
            leases: Vec::new(),
        };
        while meter.received < in_memory {
            let frame = timeout_at(meter.due(), incoming.frame()).await;
            let Some(data) = chunk(frame.map_err(|_| Refusal::SlowBody)?)? else {
                body.length = meter.received;
                return Ok(body);
            };
            meter.received += data.len() as u64;
            if meter.received > limits.most {
                discard(incoming, limits).await;
                return Err(Refusal::BodyTooLarge(limits.most));
            }
            let lease = timeout_at(meter.due(), budget.take(data.len())).await;
            body.leases.push(lease.map_err(|_| Refusal::NoMemory)?);
            body.ready.push_back(data);
        }
        body.length = known.unwrap_or(meter.received);
        if meter.received < body.length {
            let alarm = Box::pin(sleep_until(meter.due().min(Instant::now() + SILENCE)));
            body.rest = Some(Rest {
                incoming,
                meter,
                alarm,
            });
        }
        Ok(body)
    }

    /// A body that is already complete.
    pub fn whole(data: Bytes) -> Self {
        Self {
            length: data.len() as u64,
            sent: 0,
            ready: VecDeque::from([data]),
            rest: None,
            leases: Vec::new(),
        }
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The whole body in one piece, if it is there and has not more than `most` bytes. It stays
    /// here.
    pub fn contents(&self, most: u64) -> Option<Vec<u8>> {
        if self.rest.is_some() || self.sent > 0 || self.length > most {
            return None;
        }
        let mut contents = Vec::new();
        for piece in &self.ready {
            contents.extend_from_slice(piece);
        }
        Some(contents)
    }

    /// Takes what still comes of a body that is not wanted any more off the connection.
    pub async fn discard(self, limits: BodyLimits) {
        if let Some(rest) = self.rest {
            discard(rest.incoming, limits).await;
        }
    }

    /// Whether the next piece has already come.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut rest.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                let data = chunk(frame).transpose();
                if let Some(Ok(data)) = &data {
                    rest.meter.received += data.len() as u64;
                    let due = rest.meter.due().min(Instant::now() + SILENCE);
                    rest.alarm.as_mut().reset(due);
                }
                Poll::Ready(data)
            }
            Poll::Pending => rest
                .alarm
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(Refusal::SlowBody))),
        }
    }
}

/// Reads the rest of a refused request and throws it away. A client that reads only after it has
/// sent everything would otherwise get a reset instead of the refusal. Time and length are bounded.
pub async fn discard(mut incoming: Incoming, limits: BodyLimits) {
    let mut left = limits.most.saturating_mul(4);
    let rest = async {
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(CLIENT_WAITS, incoming.frame()).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(GRACE, rest).await;
}

/// The data of a frame, checked; `None` at the end. Trailers are ignored.
fn chunk(frame: Option<hyper::Result<Frame<Bytes>>>) -> Result<Option<Bytes>, Refusal> {
    match frame {
        None => Ok(None),
        Some(Err(error)) => Err(Refusal::IncompleteBody(error.to_string())),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) if data.is_ascii() => Ok(Some(data)),
            Ok(_) => Err(Refusal::NotAscii),
            Err(_trailers) => Ok(None),
        },
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let next = match self.ready.pop_front() {
            Some(data) => Some(Ok(data)),
            None => {
                self.leases.clear();
                std::task::ready!(self.poll_rest(context))
            }
        };
        Poll::Ready(match next {
            Some(Ok(data)) => {
                self.sent += data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
            Some(Err(fault)) => Some(Err(fault)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.sent)
    }
}
