//! One exchange with noded: connect, send, take the answer off at full speed, close.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_openssl::SslStream;

use super::{Error, Reply, Slot, Upstream};
use crate::http::{Body, Chunk, ReplyBody};

/// Replies up to this are gathered whole before the client sees any of it, so that a cut one becomes a 502.
const WHOLE: u64 = 256 << 10;

/// What we call ourselves towards noded.
pub(super) const AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"));
/// The same for calls that no client asked for.
pub(super) const PROBE_AGENT: &str = concat!("noded-proxy/", env!("CARGO_PKG_VERSION"), " probe");

/// A connection to noded that has carried nothing yet.
#[derive(Debug)]
pub enum Connected {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS with `server.pem` on both sides.
    Tls(Box<SslStream<TcpStream>>),
}

impl Connected {
    /// Itself, if noded still holds its end open. Not a byte of an answer is due before a request was sent. TLS 1.3
    /// session tickets may have come; a read passes over them, and finds what is behind them.
    fn if_open(mut self) -> Option<Self> {
        let open = match &mut self {
            Self::Plain(tcp) => {
                let nothing = SockRef::from(&*tcp).peek(&mut [MaybeUninit::uninit()]);
                matches!(nothing, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => {
                let (mut byte, mut context) = ([0], Context::from_waker(Waker::noop()));
                let nothing = Pin::new(tls).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
                nothing.is_pending()
            }
        };
        open.then_some(self)
    }
}

/// The task that drives the connection. It returns the bytes that noded sent behind its answer.
type Connection = JoinHandle<Result<Bytes, hyper::Error>>;

impl Upstream {
    /// Holds `slot` until noded has answered or closed, whether or not anybody waits for `answer`.
    pub(super) async fn exchange(
        self: Arc<Self>,
        mut slot: Slot<Connected>,
        procedure: String,
        body: Body,
        answer: oneshot::Sender<Result<Reply, Error>>,
        agent: &'static str,
    ) {
        let fault = body.fault();
        let stream = match slot.warm().and_then(Connected::if_open) {
            Some(warm) => {
                self.count_connection("warm");
                Ok(warm)
            }
            None => self.connect().await,
        };
        let sent = match stream {
            Ok(stream) => self.send(stream, &procedure, body, agent).await,
            Err(error) => Err(error),
        };
        let result = match sent {
            Ok((response, connection)) => self.receive(response, connection, answer).await,
            Err(error) => Err((error, Some(answer))),
        };
        drop(slot);
        let error = result.as_ref().err().map(|(error, _)| error);
        self.note_health(error);
        if error.is_none() && agent != PROBE_AGENT {
            self.warm_up();
        }
        if let Err((error, answer)) = result {
            let error = fault.get().cloned().map_or(error, Error::Client);
            self.metrics
                .upstream_errors
                .with_label_values(&[error.kind()])
                .inc();
            if let Some(answer) = answer {
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Sends; returns when the head of the answer is there.
    async fn send(
        &self,
        stream: Connected,
        procedure: &str,
        body: Body,
        agent: &'static str,
    ) -> Result<(Response<Incoming>, Connection), Error> {
        let length = body.length();
        let request = Request::post(format!("/{procedure}"))
            .header(HOST, self.settings.address.to_string())
            .header(USER_AGENT, agent)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, length)
            .body(body)
            .map_err(|error| Error::Internal(error.to_string()))?;
        let (mut sender, connection) = match stream {
            Connected::Plain(tcp) => drive(tcp).await?,
            Connected::Tls(tls) => drive(*tls).await?,
        };
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        self.metrics
            .body_bytes
            .with_label_values(&["request"])
            .inc_by(length);
        Ok((response, connection))
    }

    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        let (address, limit) = (self.settings.address, self.settings.connect_timeout);
        self.count_connection("opened");
        let deadline = Instant::now() + limit;
        let tcp = timeout_at(deadline, TcpStream::connect(address))
            .await
            .map_err(|_| Error::ConnectTimeout(limit))?
            .map_err(|error| Error::Connect(error.to_string()))?;
        let internal = |error: std::io::Error| Error::Internal(error.to_string());
        tcp.set_nodelay(true).map_err(internal)?;
        // The kernel gives up when noded takes nothing for so long (RFC 5482, tcp(7)).
        let send_timeout = Some(self.settings.send_timeout);
        SockRef::from(&tcp)
            .set_tcp_user_timeout(send_timeout)
            .map_err(internal)?;
        if !self.settings.tls {
            return Ok(Connected::Plain(tcp));
        }
        let snapshot = self.store.snapshot();
        let tls = snapshot
            .tls
            .as_ref()
            .ok_or_else(|| Error::Tls("no server.pem".into()))?;
        let stream = timeout_at(deadline, tls.connector.connect(tcp))
            .await
            .map_err(|_| Error::ConnectTimeout(limit))?
            .map_err(Error::Tls)?;
        Ok(Connected::Tls(Box::new(stream)))
    }

    /// Takes the answer off noded. A short one is handed on whole; a long one in pieces, out of a buffer that the
    /// memory budget bounds. On error returns who still waits for an answer, if anybody.
    #[allow(clippy::type_complexity)]
    async fn receive(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        answer: oneshot::Sender<Result<Reply, Error>>,
    ) -> Result<(), (Error, Option<oneshot::Sender<Result<Reply, Error>>>)> {
        let status = response.status();
        let body = response.into_body();
        let Some(length) = body.size_hint().exact() else {
            let error = Error::BadReply("it has no Content-Length".into());
            return Err((error, Some(answer)));
        };
        if length <= WHOLE {
            let whole = gather(body, length).await;
            return match and_nothing_behind(whole, connection).await {
                Ok(data) => {
                    self.count_reply(data.len());
                    let _ = answer.send(Ok(Reply {
                        status,
                        body: ReplyBody::whole(data),
                    }));
                    Ok(())
                }
                Err(error) => Err((error, Some(answer))),
            };
        }
        let (chunks, received) = mpsc::unbounded_channel();
        let reply = Reply {
            status,
            body: ReplyBody::stream(length, received),
        };
        let _ = answer.send(Ok(reply));
        let whole = self.pump(body, &chunks).await;
        match and_nothing_behind(whole, connection).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = chunks.send(Err(error.clone()));
                Err((error, None))
            }
        }
    }

    /// Passes the answer on as it comes; once the client has left, takes it off noded all the same.
    async fn pump(
        &self,
        mut body: Incoming,
        chunks: &mpsc::UnboundedSender<Chunk>,
    ) -> Result<(), Error> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::CutReply(words(&error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.count_reply(data.len());
            if !chunks.is_closed() {
                tokio::select! {
                    lease = self.budget.take(data.len()) => {
                        let _ = chunks.send(Ok((data, lease)));
                    }
                    () = chunks.closed() => {}
                }
            }
        }
        Ok(())
    }

    fn count_connection(&self, kind: &str) {
        self.metrics
            .upstream_connections
            .with_label_values(&[kind])
            .inc();
    }

    fn count_reply(&self, bytes: usize) {
        self.metrics
            .body_bytes
            .with_label_values(&["reply"])
            .inc_by(bytes as u64);
    }
}

/// Starts HTTP on a connection; a task of its own drives it.
async fn drive<S>(stream: S) -> Result<(http1::SendRequest<Body>, Connection), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::Internal(error.to_string()))?;
    let connection = connection.without_shutdown();
    let driven = tokio::spawn(async move { connection.await.map(|parts| parts.read_buf) });
    Ok((sender, driven))
}

async fn gather(mut body: Incoming, length: u64) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::CutReply(words(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() as u64 == length {
            return Ok(data); // the usual case: all in one piece, nothing to copy
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// More bytes than Content-Length said make the answer as wrong as fewer do.
async fn and_nothing_behind<T>(
    whole: Result<T, Error>,
    mut connection: Connection,
) -> Result<T, Error> {
    let data = whole?;
    // hyper ends the connection once its answer is complete; one that does not is simply cut.
    let ended = tokio::time::timeout(Duration::from_secs(1), &mut connection).await;
    connection.abort();
    match ended {
        Ok(Ok(Ok(behind))) if !behind.is_empty() => {
            let text = format!("{} bytes follow behind its Content-Length", behind.len());
            Err(Error::BadReply(text))
        }
        _ => Ok(data),
    }
}

/// What hyper's error means here.
fn failed(error: &hyper::Error) -> Error {
    let io = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::TimedOut) => Error::SendTimeout,
        _ if error.is_parse() => Error::BadReply(words(error)),
        Some(std::io::ErrorKind::BrokenPipe) => Error::Send(words(error)),
        _ if error.is_user() => Error::Send(words(error)),
        _ => Error::EmptyReply(words(error)),
    }
}

/// An error and its causes in one line; hyper's own words leave the causes out.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        words += &format!(": {cause}");
        next = cause.source();
    }
    words
}
