//! The admin listener: plain HTTP for operators, on loopback by default, and at a socket.
//!
//! | endpoint | answer |
//! | --- | --- |
//! | `GET /metrics` | Prometheus text format 0.0.4 |
//! | `GET /healthz` | JSON, [`Health`](crate::daemon::report::Health); 200 when ready, else 503 |
//! | `GET /healthz/live` | 200 as long as the process answers |
//! | `GET /certs` | JSON, [`Certificates`]: the client CA list, and the candidates' certificates |
//! | `GET /status` | JSON, [`Report`]: all that the proxy knows |
//!
//! It serialises a report and does no more. It asks nobody who he is, so it must never change
//! anything, and never show a key, a request or a reply. Any local user may call it as often as he
//! likes: it has few connections, apart from those of the RPC port, each for one request and for a
//! short time.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::daemon::handover::Predecessors;
use crate::daemon::metrics::Metrics;
use crate::daemon::report::{Admission, Certificates, Handover, Report};
use crate::daemon::{logging, sandbox};
use crate::proxy::listener::State;
use crate::proxy::overload::{Bounds, Caller, Overload, Place};
use crate::proxy::shared::Shared;
use rules::shown::inert_line;

/// Time for a request and its answer; scrapers send theirs at once.
const TIME: Duration = Duration::from_secs(10);

/// Most connections at a time. Beyond them the oldest gives way: an honest client is served in
/// milliseconds.
pub(super) const CONNECTIONS: usize = 32;

/// hyper's buffer for a request's head, in bytes.
const HEAD_BUFFER: usize = 8 << 10;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    listening: watch::Sender<State>,
    sandbox: OnceLock<sandbox::Report>,
    log: OnceLock<logging::Queue>,
    predecessors: OnceLock<Arc<Predecessors>>,
    /// Handovers that were tried, and why the last one failed.
    handovers: Mutex<(u64, Option<String>)>,
    answers: TaskTracker,
}

impl Admin {
    /// Shows the state of `shared`, and the metrics.
    pub fn new(shared: Arc<Shared>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            metrics,
            listening: watch::Sender::new(State::Waiting),
            sandbox: OnceLock::new(),
            log: OnceLock::new(),
            predecessors: OnceLock::new(),
            handovers: Mutex::default(),
            answers: TaskTracker::new(),
        })
    }

    /// How the public listener stands now.
    pub fn set_listening(&self, state: State) {
        self.listening.send_replace(state);
    }

    /// The line that `systemctl status` shows.
    pub(super) fn summary(&self) -> String {
        let state = self.state_line();
        match self.handover().failed {
            Some(why) => format!("{state}; the last reload failed: {}", inert_line(&why)),
            None => state,
        }
    }

    fn state_line(&self) -> String {
        if let State::Blocked { address, why } = &*self.listening.borrow() {
            return format!("cannot listen on {address}: {why}; trying again");
        }
        let mode = self.shared.store.policy().mode;
        Admission::of(&self.shared.store.snapshot()).status_line(mode)
    }

    /// Which layers of the sandbox are in force; before this is said, none.
    pub fn set_sandbox(&self, layers: sandbox::Report) {
        let _ = self.sandbox.set(layers); // it is entered once, at the start
    }

    /// Where the log goes; before this is said, no line of it is counted.
    pub fn set_log(&self, queue: logging::Queue) {
        let _ = self.log.set(queue); // there is one log
    }

    /// Who was replaced and still serves.
    pub(super) fn set_predecessors(&self, predecessors: &Arc<Predecessors>) {
        let _ = self.predecessors.set(Arc::clone(predecessors)); // there are no others later
    }

    /// How many handovers were tried, and why the last one failed.
    pub(super) fn set_handovers(&self, tried: u64, failed: Option<String>) {
        *self
            .handovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = (tried, failed);
    }

    /// Serves for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = places();
        loop {
            let accepted = listener.accept().await;
            let accepted = accepted.map(|(stream, address)| (stream, address.ip()));
            self.take(&places, accepted).await;
        }
    }

    /// The same at the socket. All its callers are one source: no address tells them apart.
    pub(super) async fn serve_socket(self: Arc<Self>, listener: UnixListener) {
        let places = places();
        loop {
            let accepted = listener.accept().await;
            let accepted = accepted.map(|(stream, _)| (stream, IpAddr::from([127, 0, 0, 1])));
            self.take(&places, accepted).await;
        }
    }

    /// Waits for the answers to those who came until now: each is bounded in time.
    pub(super) async fn answered(&self) {
        self.answers.close();
        self.answers.wait().await;
    }

    /// Gives a caller his place and answers him in a task of his own.
    async fn take<S>(self: &Arc<Self>, places: &Arc<Overload>, caller: io::Result<(S, IpAddr)>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match caller {
            Ok((stream, address)) => {
                if let Some(place) = places.enter(Caller::new(address, false)) {
                    self.answers
                        .spawn(Arc::clone(self).serve_one(stream, place));
                }
                // So that it is looked at before the next ones can take its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                debug!(%error, "admin accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Answers one request, within its time, unless it has to give way before.
    async fn serve_one<S>(self: Arc<Self>, stream: S, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.answer(&request)) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(TIME)
            .max_buf_size(HEAD_BUFFER)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = timeout(TIME, connection) => match served {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "admin connection"),
                Err(_) => debug!("admin connection: not done in time"),
            },
            () = place.evicted() => debug!("admin connection: gave way to a newer one"),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        }
        match request.uri().path() {
            "/metrics" => {
                let load = self.shared.upstream.slots().load();
                self.metrics.set_load(load, &self.shared.bodies);
                let report = self.report();
                self.metrics.set_health(&report.health);
                self.metrics.set_predecessors(&report.handover.predecessors);
                let dropped = self.log.get().map_or(0, logging::Queue::dropped);
                self.metrics.set_log_dropped(dropped);
                let mut response = text(StatusCode::OK, self.metrics.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            "/healthz" => {
                let health = self.report().health;
                let status = match health.ready {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                json(status, &health)
            }
            "/healthz/live" => text(StatusCode::OK, "live\n".into()),
            "/status" => json(StatusCode::OK, &self.report()),
            "/certs" => {
                let (snapshot, sightings) =
                    (self.shared.store.snapshot(), self.shared.store.sightings());
                json(
                    StatusCode::OK,
                    &Certificates::of(&snapshot, Some(sightings)),
                )
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "/metrics /healthz /healthz/live /status /certs\n".into(),
            ),
        }
    }

    fn report(&self) -> Report {
        self.shared.upstream.look_again();
        let listening = self.listening.borrow();
        let sandbox = self.sandbox.get().copied().unwrap_or_default();
        Report {
            handover: self.handover(),
            ..Report::of(&self.shared, &listening, sandbox)
        }
    }

    fn handover(&self) -> Handover {
        let handovers = self
            .handovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let predecessors = self.predecessors.get();
        Handover {
            pid: std::process::id(),
            tried: handovers.0,
            failed: handovers.1.clone(),
            predecessors: predecessors.map_or_else(Vec::new, |known| known.list()),
        }
    }
}

/// Places of their own for the callers of one listener.
fn places() -> Arc<Overload> {
    Overload::new(Bounds {
        connections: CONNECTIONS,
        handshakes: 1, // there are none
        handshakes_per_source: 1,
        reserved: 0,
    })
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(document) {
        Ok(json) => {
            let mut response = text(status, format!("{json}\n"));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
